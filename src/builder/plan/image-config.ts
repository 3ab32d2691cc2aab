/**
 * The config an image ends up with, instruction by instruction (I01–I14, O02–O07).
 *
 * A draft is begun from the base's config, which is never changed, and owned by the planning of one
 * stage. What instructions add to piece by piece is held in maps and lists, so that a file of a
 * hundred thousand instructions takes no longer than it must.
 */
import type { Healthcheck, History, ImageConfig, RunConfig } from '../../oci/image-config.ts'
import { cleanPath } from '../dockerfile/clean-path.ts'

export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const historyComment = 'buildkit.dockerfile.v0'

/** The members of the config that instructions add to. */
type Collected = 'Env' | 'Labels' | 'ExposedPorts' | 'Volumes' | 'OnBuild'

export interface ImageDraft {
  /** The rest of the base, as it came. */
  readonly base: ImageConfig
  author: string | undefined
  /** The members that an instruction sets as a whole. */
  config: Omit<RunConfig, Collected>
  /** `NAME=value` in order of first definition, and where each name stands. */
  readonly env: string[]
  readonly envPlaces: Map<string, number>
  readonly labels: Map<string, string>
  readonly ports: Set<string>
  readonly volumes: Set<string>
  readonly triggers: string[]
  readonly history: History[]
}

/** A base as a stage starts from it: triggers consumed, a PATH there, its own date gone. */
export function draftOf(base: ImageConfig): ImageDraft {
  const { Env, Labels, ExposedPorts, Volumes, OnBuild: _consumed, ...config } = base.config
  const env = [...(Env ?? [])]
  const draft: ImageDraft = {
    base,
    author: base.author,
    config: { ...config, ...absoluteWorkdir(base.config) },
    env,
    envPlaces: new Map(env.map((entry, place) => [envName(entry), place])),
    labels: new Map(Object.entries(Labels ?? {})),
    ports: new Set(Object.keys(ExposedPorts ?? {})),
    volumes: new Set(Object.keys(Volumes ?? {})),
    triggers: [],
    history: [...base.history],
  }
  if (base.os !== 'windows' && !draft.envPlaces.has('PATH')) setEnv(draft, 'PATH', defaultPath)
  return draft
}

function absoluteWorkdir({ WorkingDir = '' }: RunConfig): Pick<RunConfig, 'WorkingDir'> {
  if (WorkingDir === '') return {}
  return { WorkingDir: WorkingDir.startsWith('/') ? WorkingDir : cleanPath(`/${WorkingDir}`) }
}

/** Members in the order of the spec, Docker's behind: the same config gives the same bytes. */
const memberOrder: readonly (keyof RunConfig)[] = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'ArgsEscaped',
  'Healthcheck',
  'OnBuild',
  'Shell',
]

/** The draft as a config; collections that are empty are left out, as they mean the same. */
export function finishDraft(draft: ImageDraft): ImageConfig {
  const { created: _created, author: _author, ...base } = draft.base
  return {
    ...base,
    ...(draft.author === undefined ? {} : { author: draft.author }),
    config: inOrder({ ...draft.config, ...collected(draft) }),
    history: draft.history,
  }
}

function collected(draft: ImageDraft): Pick<RunConfig, Collected> {
  const labels = [...draft.labels].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return {
    ...(draft.env.length === 0 ? {} : { Env: draft.env }),
    ...(labels.length === 0 ? {} : { Labels: Object.fromEntries(labels) }),
    ...(draft.ports.size === 0 ? {} : { ExposedPorts: emptyObjects(draft.ports) }),
    ...(draft.volumes.size === 0 ? {} : { Volumes: emptyObjects(draft.volumes) }),
    ...(draft.triggers.length === 0 ? {} : { OnBuild: draft.triggers }),
  }
}

function inOrder(config: RunConfig): RunConfig {
  const ordered = memberOrder.flatMap(member =>
    config[member] === undefined ? [] : [[member, config[member]] as const],
  )
  return { ...Object.fromEntries(ordered), ...config }
}

function emptyObjects(keys: ReadonlySet<string>): Record<string, object> {
  return Object.fromEntries([...keys].toSorted().map(key => [key, {}]))
}

/** A later value takes the place of an earlier one (I13). */
export function setEnv(draft: ImageDraft, name: string, value: string): void {
  const place = draft.envPlaces.get(name) ?? draft.env.length
  draft.env[place] = `${name}=${value}`
  draft.envPlaces.set(name, place)
}

/** The name in `NAME=value`. */
export function envName(entry: string): string {
  const equals = entry.indexOf('=')
  return equals === -1 ? entry : entry.slice(0, equals)
}

/** The value in `NAME=value`. */
export function envValue(entry: string): string {
  const equals = entry.indexOf('=')
  return equals === -1 ? '' : entry.slice(equals + 1)
}

export function setConfig(draft: ImageDraft, change: ImageDraft['config']): void {
  draft.config = { ...draft.config, ...change }
}

/** An empty name is none, as in the config of an image that never had one. */
export function setUser(draft: ImageDraft, user: string): void {
  const { User: _replaced, ...config } = draft.config
  draft.config = user === '' ? config : { ...config, User: user }
}

/** Exec form as it is, shell form with the shell in front (I01, I04). */
export function setCmd(draft: ImageDraft, argv: readonly string[]): void {
  const { Cmd: _replaced, ...config } = draft.config
  draft.config = { ...config, ...(argv.length === 0 ? {} : { Cmd: argv }), ArgsEscaped: true }
}

/** The base's CMD was written for the base's ENTRYPOINT: it goes unless the stage set its own (I02). */
export function setEntrypoint(
  draft: ImageDraft,
  argv: readonly string[],
  cmd: 'inherited' | 'own',
): void {
  const { Entrypoint: _replaced, Cmd, ...config } = draft.config
  draft.config = {
    ...config,
    ...(cmd === 'inherited' || Cmd === undefined ? {} : { Cmd }),
    ...(argv.length === 0 ? {} : { Entrypoint: argv }),
  }
}

/** Times of 0 are left out: the engine that runs the image has its own. */
export function setHealthcheck(draft: ImageDraft, check: Required<Healthcheck>): void {
  const { Test, ...times } = check
  const given = Object.entries(times).filter(([, value]) => value !== 0)
  setConfig(draft, { Healthcheck: { Test, ...Object.fromEntries(given) } })
}

/** One entry per instruction (O02); `created` is set when the image is written. */
export function addHistory(draft: ImageDraft, text: string, layer: 'layer' | 'no layer'): void {
  draft.history.push({
    created_by: text,
    comment: historyComment,
    ...(layer === 'layer' ? {} : { empty_layer: true }),
  })
}

/** The command line that a shell form stands for. */
export function shellCommand(draft: ImageDraft, script: string): string[] {
  const shell = draft.config.Shell ?? []
  return [...(shell.length > 0 ? shell : defaultShell(draft.base.os)), script]
}

function defaultShell(os: string): readonly string[] {
  return os === 'windows' ? ['cmd', '/S', '/C'] : ['/bin/sh', '-c']
}
