/** `--call=targets`: the stages of a Dockerfile, as `--target` takes them. */
import { field } from '../../oci/json.ts'
import type { FromInstruction } from '../dockerfile/instruction.ts'
import type { Dockerfile } from '../dockerfile/parse.ts'
import type { Span } from '../dockerfile/span.ts'
import { describingComment } from './describing-comment.ts'

export interface Target {
  readonly name?: string
  /** What is built when no target is given. */
  readonly isDefault: boolean
  readonly description?: string
  /** Words of the FROM, as written. */
  readonly base: string
  readonly platform?: string
  readonly span: Span
}

export function listTargets({ instructions }: Dockerfile): Target[] {
  const stages = instructions.filter(
    (instruction): instruction is FromInstruction => instruction.kind === 'from',
  )
  return stages.map((stage, index) => ({
    ...field('name', stage.as),
    isDefault: index === stages.length - 1,
    ...field('description', describingComment(stage.comments, stage.as ?? '')),
    base: stage.image,
    ...field('platform', stage.platform),
    span: stage.span,
  }))
}
