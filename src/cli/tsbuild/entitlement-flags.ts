/** `--allow`: rights that the Dockerfile may use. */
import { type Entitlement, entitlements } from '../../builder/plan/build-args.ts'
import { suggest } from '../../oci/suggest.ts'
import { usageError } from '../cli-error.ts'
import type { BuildFlags } from './build-flags.ts'

/** Who runs every step on the host's network lets steps ask for it. A usage error for other rights. */
export function parseEntitlements({
  allow,
  network,
}: Pick<BuildFlags, 'allow' | 'network'>): ReadonlySet<Entitlement> {
  const given = allow.map(parseEntitlement)
  return new Set(network === 'host' ? [...given, 'network.host'] : given)
}

function parseEntitlement(text: string): Entitlement {
  const found = entitlements.find(name => name === text)
  if (found !== undefined) return found
  const meant = suggest(text, entitlements)
  throw usageError(
    `Cannot use flag --allow "${text}": expected ${entitlements.join(', ')}`,
    meant === undefined ? undefined : `Did you mean ${meant}?`,
  )
}
