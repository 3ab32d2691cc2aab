/** `linux` of a bundle: namespaces, devices and what is hidden. */

import { OciError, printable } from '../../oci/errors.ts'
import {
  asArray,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
} from '../../oci/json.ts'
import {
  asAbsolutePath,
  asIdentifier,
  asInteger,
  asMember,
  asText,
  listOf,
  refuse,
} from './json-values.ts'
import { type NetDevice, netDevicesFrom } from './net-devices.ts'
import { type CommonSettings, commonFrom } from './scheduling-config.ts'

export const namespaceTypes = [
  'pid',
  'network',
  'mount',
  'ipc',
  'uts',
  'user',
  'cgroup',
  'time',
] as const

export type NamespaceType = (typeof namespaceTypes)[number]

export interface IdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

export interface DeviceNode {
  readonly path: string
  readonly type: 'c' | 'b' | 'p'
  readonly major: number
  readonly minor: number
  readonly fileMode: number
  readonly uid: number
  readonly gid: number
}

export const propagations = ['private', 'slave', 'shared', 'unbindable'] as const

export interface LinuxConfig {
  /** Those that the container does not share with us; with a path: one to join. */
  readonly namespaces: ReadonlyMap<NamespaceType, { readonly path?: string }>
  readonly uidMappings: readonly IdMapping[]
  readonly gidMappings: readonly IdMapping[]
  readonly timeOffsets: readonly string[]
  readonly devices: readonly DeviceNode[]
  readonly cgroupsPath?: string
  /** Decoded where cgroups are. */
  readonly resources: JsonNode
  /** Decoded when it is compiled. */
  readonly seccomp: JsonNode
  readonly netDevices: readonly NetDevice[]
  readonly sysctl: Readonly<Record<string, string>>
  readonly maskedPaths: readonly string[]
  readonly readonlyPaths: readonly string[]
  readonly rootfsPropagation?: (typeof propagations)[number]
  readonly common: CommonSettings
}

/** Throws `invalid` with the path of the field, and `unsupported` for what we do not have. */
export function linuxFrom(node: JsonNode): LinuxConfig {
  refuse(node, 'intelRdt')
  const namespaces = namespacesFrom(member(node, 'namespaces'))
  const mappings = (key: string) => listOf(member(node, key), asArray, mappingFrom)
  const linux: LinuxConfig = {
    namespaces,
    uidMappings: mappings('uidMappings'),
    gidMappings: mappings('gidMappings'),
    timeOffsets: timeOffsetsFrom(member(node, 'timeOffsets')),
    devices: listOf(member(node, 'devices'), asArray, deviceFrom),
    ...field('cgroupsPath', optional(member(node, 'cgroupsPath'), asText)),
    resources: member(node, 'resources'),
    seccomp: member(node, 'seccomp'),
    netDevices: netDevicesFrom(member(node, 'netDevices'), namespaces),
    sysctl: optional(member(node, 'sysctl'), asStringMap) ?? {},
    maskedPaths: listOf(member(node, 'maskedPaths'), asArray, asAbsolutePath),
    readonlyPaths: listOf(member(node, 'readonlyPaths'), asArray, asAbsolutePath),
    ...field('rootfsPropagation', optional(member(node, 'rootfsPropagation'), propagationFrom)),
    common: commonFrom(node),
  }
  assertConsistent(linux, node)
  return linux
}

function namespacesFrom(node: JsonNode): LinuxConfig['namespaces'] {
  const namespaces = new Map<NamespaceType, { readonly path?: string }>()
  for (const entry of optional(node, asArray) ?? []) {
    const type = asMember(member(entry, 'type'), namespaceTypes)
    if (namespaces.has(type)) throw mismatch(member(entry, 'type'), 'each namespace once')
    const { value } = member(entry, 'path')
    const isNew = value === undefined || value === null || value === ''
    namespaces.set(type, isNew ? {} : { path: asAbsolutePath(member(entry, 'path')) })
  }
  return namespaces
}

function assertConsistent(linux: LinuxConfig, node: JsonNode): void {
  const { namespaces } = linux
  const mount = namespaces.get('mount')
  const where = member(node, 'namespaces').path
  const cannot = (why: string) => new OciError('invalid', `Cannot run the bundle: ${where}: ${why}`)
  if (mount === undefined || mount.path !== undefined) {
    throw cannot('the container needs a mount namespace of its own ({"type": "mount"})')
  }
  const user = namespaces.get('user')
  const maps = linux.uidMappings.length + linux.gidMappings.length
  if (maps > 0 && user === undefined) throw cannot('mappings of ids need {"type": "user"}')
  if (user !== undefined && user.path === undefined) {
    for (const key of ['uidMappings', 'gidMappings'] as const) {
      if (linux[key].length === 0) throw mismatch(member(node, key), 'at least one mapping')
    }
  }
  const time = namespaces.get('time')
  if (linux.timeOffsets.length > 0 && (time === undefined || time.path !== undefined)) {
    throw cannot('timeOffsets need a new time namespace ({"type": "time"})')
  }
}

export function mappingFrom(node: JsonNode): IdMapping {
  const size = asInteger(member(node, 'size'))
  if (size < 1 || size > 0xffff_ffff) throw mismatch(member(node, 'size'), 'a size from 1')
  return {
    containerID: asIdentifier(member(node, 'containerID')),
    hostID: asIdentifier(member(node, 'hostID')),
    size,
  }
}

/** As /proc/PID/uid_map has them. */
export function mapText(mappings: readonly IdMapping[]): string {
  return mappings
    .map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`)
    .join('')
}

/** As lines of /proc/PID/timens_offsets. */
function timeOffsetsFrom(node: JsonNode): string[] {
  if (node.value === undefined || node.value === null) return []
  return (['monotonic', 'boottime'] as const).flatMap(clock => {
    const offset = member(node, clock)
    if (offset.value === undefined || offset.value === null) return []
    const seconds = optional(member(offset, 'secs'), asInteger) ?? 0
    const nanoseconds = optional(member(offset, 'nanosecs'), asInteger) ?? 0
    return [`${clock} ${seconds} ${nanoseconds}`]
  })
}

const deviceTypes = ['c', 'b', 'u', 'p'] as const

function deviceFrom(node: JsonNode): DeviceNode {
  const path = asAbsolutePath(member(node, 'path'))
  if (!/^\/.+\/[^/]+$/.test(path)) throw mismatch(member(node, 'path'), 'a path below /dev')
  const type = asMember(member(node, 'type'), deviceTypes)
  const number = (key: string) =>
    type === 'p' ? 0 : (optional(member(node, key), asIdentifier) ?? 0)
  return {
    path,
    type: type === 'u' ? 'c' : type,
    major: number('major'),
    minor: number('minor'),
    // Go programs write the type's bits, too.
    fileMode: (optional(member(node, 'fileMode'), asInteger) ?? 0o666) & 0o7777,
    uid: optional(member(node, 'uid'), asIdentifier) ?? 0,
    gid: optional(member(node, 'gid'), asIdentifier) ?? 0,
  }
}

function propagationFrom(node: JsonNode): (typeof propagations)[number] | undefined {
  const text = asString(node)
  if (text === '') return undefined
  const name = propagations.find(known => known === text || `r${known}` === text)
  if (name !== undefined) return name
  throw mismatch(
    node,
    `one of ${propagations.join(', ')}, each also with "r", not ${printable(text)}`,
  )
}
