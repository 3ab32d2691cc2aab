/** Where the registry stores, as every command of it finds it. */
import { join } from 'node:path'
import type { Environment } from '../environment.ts'

export const rootFlag = {
  kind: 'string',
  value: 'DIR',
  help: 'Folder to store in (default: registry under the data folder of tsbuild)',
  env: 'TSREGISTRY_ROOT',
} as const

export function rootFrom(flag: string | undefined, environment: Environment): string {
  return flag ?? join(environment.root, 'registry')
}
