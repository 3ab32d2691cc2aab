/** ContainerRecord: what is kept about a container beside its files. */
import { hasCode } from '../../oci/errors.ts'
import { type Healthcheck, healthcheckFrom } from '../../oci/image-config.ts'
import {
  asArray,
  asSize,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
} from '../../oci/json.ts'
import type { ExitStatus, PublishedPort } from '../sandbox/spec.ts'
import type { UsedVolume } from './volume-use.ts'

export interface ContainerRecord {
  readonly name?: string
  /** As the user named the image. */
  readonly image: string
  /** The digest of its config. */
  readonly imageId: string
  readonly argv: readonly string[]
  /** ISO 8601, as all times here. */
  readonly createdAt: string
  /** Whether it goes when it ends: `--rm`. */
  readonly lifetime: 'removed-at-end' | 'kept'
  /** Absent while it was only created. */
  readonly startedAt?: string
  /** Published ports, and the address they lead to, once they are. */
  readonly ports?: readonly PublishedPort[]
  readonly address?: string
  /** Its first process, outside; `start` tells it from a later one of its number. */
  readonly process?: { readonly pid: number; readonly start: string }
  readonly labels?: Readonly<Record<string, string>>
  readonly volumes?: readonly UsedVolume[]
  /** Of one that lives on: bytes of its output that are kept (absent: all), and whether its input
   * stays open instead of being empty. */
  readonly logLimit?: number
  readonly hasOpenInput?: true
  /** It lives on without who started it: its output is in its log, its end in a file of its own. */
  readonly detached?: true
  /** What stops it, and how many seconds it then has; absent: SIGTERM, and docker's ten. */
  readonly stopSignal?: number
  readonly stopTimeout?: number
  /** How it is checked, if it is: docker's words, as images have them. */
  readonly healthcheck?: Healthcheck
  /** From a file of its own, once it has ended; absent after a monitor that was killed. */
  readonly end?: ExitStatus & { readonly at: string }
}

/** `undefined` for a record that is damaged or of a future version. */
export function decodeContainerRecord(value: unknown): ContainerRecord | undefined {
  try {
    return recordFrom({ document: 'container record', path: '', value })
  } catch (error) {
    if (hasCode(error, 'invalid')) return undefined
    throw error
  }
}

function recordFrom(node: JsonNode): ContainerRecord {
  const lifetime = asString(member(node, 'lifetime'))
  if (lifetime !== 'kept' && lifetime !== 'removed-at-end') {
    throw mismatch(member(node, 'lifetime'), '"kept" or "removed-at-end"')
  }
  return {
    ...field('name', optional(member(node, 'name'), asString)),
    image: asString(member(node, 'image')),
    imageId: asString(member(node, 'imageId')),
    argv: asArray(member(node, 'argv')).map(asString),
    createdAt: asString(member(node, 'createdAt')),
    lifetime,
    ...field('startedAt', optional(member(node, 'startedAt'), asString)),
    ...field('ports', optional(member(node, 'ports'), portsFrom)),
    ...field('address', optional(member(node, 'address'), asString)),
    ...field('process', optional(member(node, 'process'), processFrom)),
    ...field('labels', optional(member(node, 'labels'), asStringMap)),
    ...field('volumes', optional(member(node, 'volumes'), volumesFrom)),
    ...field('logLimit', optional(member(node, 'logLimit'), asSize)),
    ...(member(node, 'hasOpenInput').value === true ? { hasOpenInput: true } : {}),
    ...(member(node, 'detached').value === true ? { detached: true } : {}),
    ...field('stopSignal', optional(member(node, 'stopSignal'), asSize)),
    ...field('stopTimeout', optional(member(node, 'stopTimeout'), asSize)),
    ...field('healthcheck', optional(member(node, 'healthcheck'), healthcheckFrom)),
    ...field('end', optional(member(node, 'end'), endFrom)),
  }
}

function processFrom(node: JsonNode): NonNullable<ContainerRecord['process']> {
  return { pid: asSize(member(node, 'pid')), start: asString(member(node, 'start')) }
}

function portsFrom(node: JsonNode): PublishedPort[] {
  return asArray(node).map(port => ({
    hostAddress: asString(member(port, 'hostAddress')),
    hostPort: asSize(member(port, 'hostPort')),
    port: asSize(member(port, 'port')),
    protocol: member(port, 'protocol').value === 'udp' ? 'udp' : 'tcp',
  }))
}

function volumesFrom(node: JsonNode): UsedVolume[] {
  return asArray(node).map(volume => ({
    name: asString(member(volume, 'name')),
    target: asString(member(volume, 'target')),
    readOnly: member(volume, 'readOnly').value === true,
    copies: member(volume, 'copies').value === true,
    isAnonymous: member(volume, 'isAnonymous').value === true,
  }))
}

function endFrom(node: JsonNode): ContainerRecord['end'] & object {
  return {
    code: asSize(member(node, 'code')),
    ...field('signal', optional(member(node, 'signal'), asSize)),
    outOfMemory: member(node, 'outOfMemory').value === true,
    at: asString(member(node, 'at')),
  }
}
