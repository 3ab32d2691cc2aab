/**
 * The cgroup that bounds a container's devices; see device-rules.ts.
 *
 * In version 1 all containers without wishes of their own share one, made once and kept, named by
 * its rules. In version 2 the rules are a program, and each container has its own.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import { isInUserNamespace } from '../layer/overlay-format.ts'
import type { Hierarchies } from './cgroup-hierarchies.ts'
import { ownerMark, removeCgroup } from './cgroup-leftovers.ts'
import { boundedBy, type DeviceRule, defaultDeviceRules, deviceRuleLine } from './device-rules.ts'

export type DeviceBound =
  | { readonly kind: 'shared'; readonly directory: string }
  | { readonly kind: 'own'; readonly directory: string }
  /** The native program is to attach `program` to the directory, and to begin there. */
  | { readonly kind: 'filtered'; readonly directory: string; readonly program: Uint8Array }
  /** No cgroup can: mounts must. */
  | { readonly kind: 'none' }

export interface DeviceWishes {
  /** Beyond the default ones. */
  readonly rules: readonly DeviceRule[]
  /** Unique among running containers. */
  readonly name: string
}

/**
 * Makes the cgroup or finds it. Cgroups that are closed to us are none; throws other errors of the
 * system, and then leaves nothing.
 */
export function boundDevices({ rules, name }: DeviceWishes, hierarchies: Hierarchies): DeviceBound {
  // The kernel lets nobody else decide about devices, and in other namespaces makes none work.
  if (isInUserNamespace()) return { kind: 'none' }
  try {
    const { devices: classic } = hierarchies.v1
    // The second version first, also where it has nothing else: a container begins in its cgroup,
    // while entering one of the first takes the kernel ten milliseconds.
    const directory = makeUnified(name, hierarchies)
    if (directory !== undefined) {
      return { kind: 'filtered', directory, program: boundedBy(rules) }
    }
    if (classic === undefined) return { kind: 'none' }
    const parent = join(classic, 'tsbuild')
    mkdirSync(parent, { recursive: true })
    const lines = [...defaultDeviceRules, ...rules]
    if (rules.length === 0) return { kind: 'shared', directory: shared(parent, lines) }
    return { kind: 'own', directory: makeBounded(join(parent, name), lines) }
  } catch (error) {
    if (isClosed(error)) return { kind: 'none' }
    throw error
  }
}

/** A cgroup of version 2 by this name, made; `undefined` where there is none for us. */
export function makeUnified(name: string, { v2 }: Hierarchies): string | undefined {
  if (v2 === undefined) return undefined
  const directory = join(v2, 'tsbuild', name)
  try {
    mkdirSync(directory, { recursive: true })
    return directory
  } catch (error) {
    if (isClosed(error)) return undefined
    throw error
  }
}

/** Read-only, as inside of other containers, or another user's. */
function isClosed(error: unknown): boolean {
  return (['EACCES', 'EPERM', 'EROFS'] as const).some(code => hasCode(error, code))
}

/** Its name tells that it is complete: it gets it last. */
function shared(parent: string, rules: readonly DeviceRule[]): string {
  const digest = createHash('sha256').update(rules.map(deviceRuleLine).join('\n')).digest('hex')
  const directory = join(parent, `devices-${digest.slice(0, 12)}`)
  if (existsSync(directory)) return directory
  const draft = makeBounded(join(parent, `devices.${ownerMark()}`), rules)
  try {
    renameSync(draft, directory)
  } catch (error) {
    removeCgroup(draft)
    if (!existsSync(directory)) throw error
  }
  return directory
}

function makeBounded(directory: string, rules: readonly DeviceRule[]): string {
  mkdirSync(directory, { recursive: true })
  try {
    writeFileSync(join(directory, 'devices.deny'), 'a')
    for (const rule of rules) {
      writeFileSync(join(directory, 'devices.allow'), deviceRuleLine(rule))
    }
  } catch (error) {
    removeCgroup(directory)
    throw error
  }
  return directory
}
