/** Rights that a Dockerfile may only have when the user gives them: `--allow` (R04–R06). */
import { OciError, printable } from '../oci/errors.ts'
import type { Entitlement } from './plan/build-args.ts'
import type { RunStep, Step } from './plan/step.ts'

/** Throws `denied` for a step that asks for a right that was not given. */
export function refuseForbidden(step: Step, allowed: ReadonlySet<Entitlement>): void {
  if (step.kind !== 'run') return
  for (const { entitlement, message } of wanted(step)) {
    if (allowed.has(entitlement)) continue
    throw new OciError('denied', message, { hint: `allow it with --allow ${entitlement}` })
  }
}

interface Wanted {
  readonly entitlement: Entitlement
  /** BuildKit's words. */
  readonly message: string
}

function wanted({ network, security, devices }: RunStep): Wanted[] {
  const rights: readonly (readonly [Entitlement, boolean])[] = [
    ['network.host', network === 'host'],
    ['security.insecure', security === 'insecure'],
  ]
  const entitled = rights
    .filter(([, isWanted]) => isWanted)
    .map(([entitlement]) => ({
      entitlement,
      message: `entitlement ${entitlement} is not allowed`,
    }))
  const requested = devices.map(({ name }) => ({
    entitlement: 'device' as const,
    message: `device ${printable(name)} is requested by the build but not allowed`,
  }))
  return [...entitled, ...requested]
}
