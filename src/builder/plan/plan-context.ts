/**
 * What planning a file looks things up in.
 */
import type { Escape } from '../dockerfile/expand.ts'
import type { Finding } from '../dockerfile/lint-rule.ts'
import type { Dockerfile } from '../dockerfile/parse.ts'
import type { PlanOptions } from './build-args.ts'

export interface PlanContext {
  readonly dockerfile: Dockerfile
  readonly options: PlanOptions
  readonly globals: ReadonlyMap<string, string>
  readonly findings: Finding[]
  readonly file: string
  readonly escape: Escape
}
