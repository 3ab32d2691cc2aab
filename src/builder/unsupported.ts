/**
 * What the language has and this release does not do yet: refused by name before anything runs.
 */
import { OciError } from '../oci/errors.ts'
import type { RunMount, RunStep, Step } from './plan/step.ts'

/** Throws `unsupported`, naming the flag or source. */
export function refuseUnsupported(step: Step): void {
  const name = unsupportedIn(step)
  if (name === undefined) return
  throw new OciError('unsupported', `${name} is not supported yet`)
}

function unsupportedIn(step: Step): string | undefined {
  if (step.kind === 'run') return unsupportedInRun(step)
  return undefined
}

function unsupportedInRun(step: RunStep): string | undefined {
  if (step.security === 'insecure') return 'RUN --security=insecure'
  if (step.devices.length > 0) return 'RUN --device'
  return step.mounts.map(unsupportedMount).find(name => name !== undefined)
}

function unsupportedMount(mount: RunMount): string | undefined {
  if (mount.kind === 'ssh') return `RUN --mount=type=${mount.kind}`
  return undefined
}
