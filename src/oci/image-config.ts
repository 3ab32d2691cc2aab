/**
 * ImageConfig: how to run an image, and which layers it is made of.
 *
 * Fields keep the spec's spelling. Docker's extensions (Healthcheck, Shell, OnBuild, ArgsEscaped)
 * are read and written; fields we do not know travel along in `extra` so that a build on top of a
 * base does not lose them. Spec: image-spec config.md.
 */
import type { Document } from './descriptor.ts'
import { type DiffId, digestOf, parseDiffId } from './digest.ts'
import {
  asArray,
  asObject,
  asSize,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from './json.ts'

export interface Healthcheck {
  readonly Test?: readonly string[]
  /** Nanoseconds, as all durations here. */
  readonly Interval?: number
  readonly Timeout?: number
  readonly StartPeriod?: number
  readonly StartInterval?: number
  readonly Retries?: number
}

export interface RunConfig {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, object>>
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Volumes?: Readonly<Record<string, object>>
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>>
  readonly StopSignal?: string
  readonly ArgsEscaped?: boolean
  readonly Healthcheck?: Healthcheck
  readonly OnBuild?: readonly string[]
  readonly Shell?: readonly string[]
}

export interface History {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  readonly empty_layer?: boolean
}

export interface ImageConfig {
  readonly created?: string
  readonly author?: string
  readonly architecture: string
  readonly os: string
  readonly variant?: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
  readonly config: RunConfig
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly DiffId[] }
  readonly history: readonly History[]
  /** Top-level members that no field above names, as they came. */
  readonly extra?: Readonly<Record<string, unknown>>
}

const knownMembers = new Set([
  'created',
  'author',
  'architecture',
  'os',
  'variant',
  'os.version',
  'os.features',
  'config',
  'rootfs',
  'history',
])

/** Throws `invalid` with the JSON path. A layer count that disagrees with history is accepted. */
export function parseImageConfig(bytes: Uint8Array): Document<ImageConfig> {
  const node = parseJson('image config', bytes)
  const rootfs = member(node, 'rootfs')
  const value: ImageConfig = {
    ...field('created', optional(member(node, 'created'), asString)),
    ...field('author', optional(member(node, 'author'), asString)),
    architecture: asString(member(node, 'architecture')),
    os: asString(member(node, 'os')),
    ...field('variant', optional(member(node, 'variant'), asString)),
    ...field('os.version', optional(member(node, 'os.version'), asString)),
    ...field('os.features', optional(member(node, 'os.features'), strings)),
    config: optional(member(node, 'config'), runConfigFrom) ?? {},
    rootfs: {
      type: 'layers',
      // Docker writes null for an image of no layers.
      diff_ids: optional(member(rootfs, 'diff_ids'), asArray)?.map(diffIdFrom) ?? [],
    },
    history: optional(member(node, 'history'), asArray)?.map(historyFrom) ?? [],
    ...field('extra', extraMembers(node)),
  }
  return { bytes, digest: digestOf(bytes), value }
}

function extraMembers(node: JsonNode): Record<string, unknown> | undefined {
  const extra = Object.entries(asObject(node)).filter(([key]) => !knownMembers.has(key))
  return extra.length === 0 ? undefined : Object.fromEntries(extra)
}

function diffIdFrom(node: JsonNode): DiffId {
  const text = asString(node)
  try {
    return parseDiffId(text)
  } catch {
    throw mismatch(node, 'a digest')
  }
}

function runConfigFrom(node: JsonNode): RunConfig {
  return {
    ...field('User', optional(member(node, 'User'), asString)),
    ...field('ExposedPorts', optional(member(node, 'ExposedPorts'), objectMap)),
    ...field('Env', optional(member(node, 'Env'), strings)),
    ...field('Entrypoint', optional(member(node, 'Entrypoint'), strings)),
    ...field('Cmd', optional(member(node, 'Cmd'), strings)),
    ...field('Volumes', optional(member(node, 'Volumes'), objectMap)),
    ...field('WorkingDir', optional(member(node, 'WorkingDir'), asString)),
    ...field('Labels', optional(member(node, 'Labels'), asStringMap)),
    ...field('StopSignal', optional(member(node, 'StopSignal'), asString)),
    ...field('ArgsEscaped', optional(member(node, 'ArgsEscaped'), asBoolean)),
    ...field('Healthcheck', optional(member(node, 'Healthcheck'), healthcheckFrom)),
    ...field('OnBuild', optional(member(node, 'OnBuild'), strings)),
    ...field('Shell', optional(member(node, 'Shell'), strings)),
  }
}

/** Throws `invalid`. */
export function healthcheckFrom(node: JsonNode): Healthcheck {
  return {
    ...field('Test', optional(member(node, 'Test'), strings)),
    ...field('Interval', optional(member(node, 'Interval'), asSize)),
    ...field('Timeout', optional(member(node, 'Timeout'), asSize)),
    ...field('StartPeriod', optional(member(node, 'StartPeriod'), asSize)),
    ...field('StartInterval', optional(member(node, 'StartInterval'), asSize)),
    ...field('Retries', optional(member(node, 'Retries'), asSize)),
  }
}

function historyFrom(node: JsonNode): History {
  return {
    ...field('created', optional(member(node, 'created'), asString)),
    ...field('created_by', optional(member(node, 'created_by'), asString)),
    ...field('author', optional(member(node, 'author'), asString)),
    ...field('comment', optional(member(node, 'comment'), asString)),
    ...field('empty_layer', optional(member(node, 'empty_layer'), asBoolean)),
  }
}

function strings(node: JsonNode): string[] {
  return asArray(node).map(asString)
}

function objectMap(node: JsonNode): Record<string, object> {
  return Object.fromEntries(Object.keys(asObject(node)).map(key => [key, {}]))
}

function asBoolean(node: JsonNode): boolean {
  if (typeof node.value !== 'boolean') throw mismatch(node, 'true or false')
  return node.value
}

/** The bytes of a new config blob: members in the spec's order, keys of maps as given. */
export function encodeImageConfig(config: ImageConfig): Uint8Array {
  const { extra, ...known } = config
  return new TextEncoder().encode(JSON.stringify({ ...known, ...extra }))
}
