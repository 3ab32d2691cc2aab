/**
 * A health check as the operation that the monitor reads, with those of each probe in it: of a process
 * that joins the container, as `exec` starts one (oci-runtime/join-container.ts).
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { namespaceNames } from './namespace-names.ts'
import { encodeWords, type Operation } from './operation-words.ts'
import {
  capabilityOperations,
  filterOperations,
  processOperations,
  resourceOperations,
} from './process-operations.ts'
import type { SandboxSpec } from './spec.ts'

/** What a run adds to a health check. */
export interface HealthSurroundings {
  /** The file that the monitor writes: native/sandbox/health.c. */
  readonly file: string
  /** Of the container: the directory of version 2 that it begins in, and what it enters beyond. */
  readonly cgroup: { readonly first: string | undefined; readonly procs: readonly string[] }
}

/** None for a spec without a health check, and where nobody keeps what comes of it. */
export function healthOperations(
  spec: SandboxSpec,
  around: HealthSurroundings | undefined,
): Operation[] {
  const { health } = spec
  if (health === undefined || around === undefined) return []
  const { argv, interval, timeout, startPeriod, startInterval, retries } = health
  return [
    [
      'health',
      around.file,
      ...[interval, timeout, startPeriod, startInterval, retries],
      around.cgroup.first ?? '',
      encodeWords(probeOperations({ ...spec, argv }, around.cgroup)),
    ],
  ]
}

/** Where the monitor has the container's first process; native/sandbox/probe.c. */
const place = '/proc/self/fd/5/ns'

/** The monitor is in that of users anyway. */
const namespaces = namespaceNames.filter(([kind]) => kind !== 'user')

function probeOperations(
  spec: SandboxSpec,
  { first, procs }: HealthSurroundings['cgroup'],
): Operation[] {
  const { security } = spec
  const known = namespaces.filter(([, name]) => existsSync(`/proc/self/ns/${name}`))
  return [
    ['namespaces', 0],
    ['option', 'joins-container'],
    ...known.map(([kind, name]) => ['join', kind, `${place}/${name}`] as const),
    // Of its own, so that all that it started can be ended with it.
    ...(first === undefined ? [] : [['begin-in-cgroup', join(first, 'health')] as const]),
    ...procs.map(path => ['cgroup', path] as const),
    ...(security.seccomp === 'default' ? [['option', 'seccomp'] as const] : []),
    ...(security.noNewPrivileges ? [['option', 'no-new-privileges'] as const] : []),
    ...filterOperations(security),
    ...capabilityOperations(security),
    ...resourceOperations(spec),
    ...processOperations(spec),
  ]
}
