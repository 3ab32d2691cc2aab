/** A recorded build in words. */
import type { RecordedBuild } from '../../../builder/history/build-record.ts'
import { printable } from '../../../oci/errors.ts'
import { humanAge } from '../../human.ts'

export const buildFlag = {
  kind: 'string',
  value: 'ID',
  help: 'Of this build instead of the last one; "history" lists them',
} as const

/** `Build 20261120-172106-4753f of . (Dockerfile), 2 minutes ago: failed`. */
export function buildTitle(build: RecordedBuild, now: Date): string {
  const { id, context, dockerfile, startedAt } = build
  const from = `${printable(context, 200)} (${printable(dockerfile, 200)})`
  return `Build ${id} of ${from}, ${humanAge(startedAt, now)}: ${stateText(build)}`
}

export function stateText({ state }: Pick<RecordedBuild, 'state'>): string {
  return state === 'stopped' ? 'stopped without a word' : state
}
