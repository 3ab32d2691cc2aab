/** `process` of a bundle, and the file that `exec --process` names: what to run, as whom. */

import { hasCode } from '../../oci/errors.ts'
import {
  asArray,
  asBoolean,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from '../../oci/json.ts'
import { allCapabilities } from '../sandbox/defaults.ts'
import { resourceNumber } from '../sandbox/resource-limits.ts'
import type { ResourceLimit } from '../sandbox/spec.ts'
import { asAbsolutePath, asIdentifier, asInteger, asLimit, asText, listOf } from './json-values.ts'
import {
  affinityFrom,
  ioPriorityFrom,
  type Scheduling,
  schedulerFrom,
} from './scheduling-config.ts'

export type ProcessConfig = {
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: {
    readonly uid: number
    readonly gid: number
    readonly additionalGids: readonly number[]
    readonly umask?: number
  }
  readonly terminal: boolean
  readonly consoleSize?: { readonly height: number; readonly width: number }
  /** Absent: none at all. */
  readonly capabilities?: CapabilitySets
  readonly rlimits: readonly ResourceLimit[]
  readonly noNewPrivileges: boolean
  readonly oomScoreAdj?: number
} & Scheduling

export const capabilitySetNames = [
  'bounding',
  'effective',
  'permitted',
  'inheritable',
  'ambient',
] as const

/** Names that Linux has; others are left out, as of a newer kernel. */
export type CapabilitySets = Readonly<
  Record<(typeof capabilitySetNames)[number], readonly string[]>
>

/** Throws `invalid` with the path of the field, and `unsupported` for what we do not have. */
export function processFrom(node: JsonNode): ProcessConfig {
  const args = listOf(member(node, 'args'), asArray, asText)
  if (args.length === 0) throw mismatch(member(node, 'args'), 'at least one word')
  const terminal = optional(member(node, 'terminal'), asBoolean) ?? false
  return {
    args,
    env: listOf(member(node, 'env'), asArray, asText),
    cwd: asAbsolutePath(member(node, 'cwd')),
    user: userFrom(member(node, 'user')),
    terminal,
    ...(terminal ? field('consoleSize', optional(member(node, 'consoleSize'), sizeFrom)) : {}),
    ...field('capabilities', optional(member(node, 'capabilities'), capabilitiesFrom)),
    rlimits: rlimitsFrom(member(node, 'rlimits')),
    noNewPrivileges: optional(member(node, 'noNewPrivileges'), asBoolean) ?? false,
    ...field('oomScoreAdj', optional(member(node, 'oomScoreAdj'), scoreFrom)),
    ...field('scheduler', optional(member(node, 'scheduler'), schedulerFrom)),
    ...field('ioPriority', optional(member(node, 'ioPriority'), ioPriorityFrom)),
    ...field('execCpuAffinity', optional(member(node, 'execCPUAffinity'), affinityFrom)),
  }
}

/** As {@link processFrom}. */
export function parseProcess(bytes: Uint8Array): ProcessConfig {
  return processFrom(parseJson('process file', bytes))
}

function userFrom(node: JsonNode): ProcessConfig['user'] {
  if (node.value === undefined || node.value === null) return { uid: 0, gid: 0, additionalGids: [] }
  return {
    uid: optional(member(node, 'uid'), asIdentifier) ?? 0,
    gid: optional(member(node, 'gid'), asIdentifier) ?? 0,
    additionalGids: listOf(member(node, 'additionalGids'), asArray, asIdentifier),
    ...field('umask', optional(member(node, 'umask'), maskFrom)),
  }
}

function maskFrom(node: JsonNode): number {
  const mask = asInteger(node)
  if (mask < 0 || mask > 0o777) throw mismatch(node, 'a mask from 0 to 511 (0777)')
  return mask
}

function sizeFrom(node: JsonNode): NonNullable<ProcessConfig['consoleSize']> {
  const side = (key: string) => {
    const size = asInteger(member(node, key))
    if (size < 0 || size > 0xffff) throw mismatch(member(node, key), 'a size from 0 to 65535')
    return size
  }
  return { height: side('height'), width: side('width') }
}

function capabilitiesFrom(node: JsonNode): CapabilitySets {
  const set = (key: string) =>
    listOf(member(node, key), asArray, asText).filter(name => allCapabilities.includes(name))
  return {
    bounding: set('bounding'),
    effective: set('effective'),
    permitted: set('permitted'),
    inheritable: set('inheritable'),
    ambient: set('ambient'),
  }
}

function rlimitsFrom(node: JsonNode): ResourceLimit[] {
  const limits = listOf(node, asArray, rlimitFrom)
  const twice = limits.findIndex(({ name }, at) => limits.findIndex(l => l.name === name) < at)
  if (twice === -1) return limits
  const entry = (optional(node, asArray) ?? [])[twice] ?? node
  throw mismatch(member(entry, 'type'), 'each limit once')
}

function rlimitFrom(node: JsonNode): ResourceLimit {
  const type = member(node, 'type')
  const name = asText(type)
    .replace(/^RLIMIT_/, '')
    .toLowerCase()
  try {
    resourceNumber(name)
  } catch (error) {
    if (!hasCode(error, 'invalid')) throw error
    throw mismatch(type, 'a limit of Linux, like "RLIMIT_NOFILE"')
  }
  return { name, soft: asLimit(member(node, 'soft')), hard: asLimit(member(node, 'hard')) }
}

function scoreFrom(node: JsonNode): number {
  const score = asInteger(node)
  if (score < -1000 || score > 1000) throw mismatch(node, 'a score from -1000 to 1000')
  return score
}
