/** What runs, as whom, with which rights: the same for a first process and for one that joins it. */
import { capabilityNumber } from './defaults.ts'
import type { Operation } from './operation-words.ts'
import { resourceNumber } from './resource-limits.ts'
import type { SandboxSpec, Security } from './spec.ts'

export function processOperations(spec: SandboxSpec): Operation[] {
  return [
    ['user', spec.user.uid, spec.user.gid],
    ...spec.user.groups.map(gid => ['group', gid] as const),
    ['cwd', spec.cwd],
    ...spec.env.map(variable => ['variable', variable] as const),
    ...spec.argv.map(argument => ['argument', argument] as const),
  ]
}

/** Throws `invalid` for an unknown capability. */
export function capabilityOperations({ capabilities }: Security): Operation[] {
  return capabilities.map(name => ['capability', capabilityNumber(name)])
}

/** One that is not the default. */
export function filterOperations({ seccomp }: Security): Operation[] {
  return typeof seccomp === 'object' ? [['filter', seccomp]] : []
}

export function resourceOperations({
  resourceLimits = [],
}: Pick<SandboxSpec, 'resourceLimits'>): Operation[] {
  const infinity = 2n ** 64n - 1n
  const inWords = (limit: number | 'unlimited') => String(limit === 'unlimited' ? infinity : limit)
  return resourceLimits.map(({ name, soft, hard }) => {
    return ['rlimit', name, resourceNumber(name), inWords(soft), inWords(hard)]
  })
}
