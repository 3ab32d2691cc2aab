/** Capability names as users write them: with or without `CAP_`, in any case, or `ALL`. */
import { OciError, printable } from '../../oci/errors.ts'
import { suggest } from '../../oci/suggest.ts'
import { allCapabilities } from '../sandbox/defaults.ts'

export interface CapabilityChanges {
  readonly capAdd: readonly string[]
  readonly capDrop: readonly string[]
}

/**
 * `base` with the changes, in the kernel's order. `ALL` is a starting point, as in docker: dropping
 * ALL and adding X leaves X alone; adding ALL and dropping X leaves all but X. Of a name that is
 * both added and dropped, dropped wins. Throws `invalid`.
 */
export function capabilitySet(base: readonly string[], changes: CapabilityChanges): string[] {
  const added = changes.capAdd.map(capabilityName)
  const dropped = new Set(changes.capDrop.map(capabilityName))
  const start = dropped.has('ALL') ? [] : base
  const wanted = new Set(added.includes('ALL') ? allCapabilities : [...start, ...added])
  return allCapabilities.filter(name => wanted.has(name) && !dropped.has(name))
}

function capabilityName(text: string): string {
  const upper = text.toUpperCase()
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  if (name === 'CAP_ALL') return 'ALL'
  if (allCapabilities.includes(name)) return name
  const meant = suggest(name, allCapabilities)
  throw new OciError(
    'invalid',
    `Cannot use capability "${printable(text)}": Linux has none of that name`,
    meant === undefined ? {} : { hint: `Did you mean ${meant}?` },
  )
}
