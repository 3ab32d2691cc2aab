/**
 * What the language has and this release does not do yet: refused by name before anything runs.
 */
import { OciError } from '../oci/errors.ts'
import type { Step } from './plan/step.ts'

/** Throws `unsupported`, naming the flag. */
export function refuseUnsupported(step: Step): void {
  if (step.kind !== 'run' || step.devices.length === 0) return
  throw new OciError('unsupported', 'RUN --device is not supported yet')
}
