/** What a build is asked for, and what it may touch. */
import type { Store } from '../layerfs/store.ts'
import type { RegistryClient } from '../registry/client/client.ts'
import type { EmitBuildEvent } from './build-event.ts'
import type { CachePlace } from './cache/cache-place.ts'
import type { PlanOptions } from './plan/build-args.ts'
import type { ShellSettings } from './shell.ts'
import type { NamedContextNames } from './sources/context-name.ts'
import type { SourceTime } from './sources/source-time.ts'
import type { StepPlace } from './step-place.ts'
import type { SandboxSettings, SecretSource } from './steps/step-world.ts'

export interface BuildRequest {
  /** `name` is what messages call it, `path` where a file of this machine is. */
  readonly dockerfile: { readonly name: string; readonly path?: string; readonly text: string }
  /** The build context's directory. */
  readonly context: string
  /** What the user calls a context that is in another directory each time: a URL, standard input. */
  readonly contextName?: string
  /** Text of the .dockerignore; empty when there is none. */
  readonly ignore: string
  readonly plan: PlanOptions
  readonly labels: ReadonlyMap<string, string>
  /** Steps that run even if nothing changed: by stage, or as step-place.ts has it. */
  readonly rerun: 'all' | readonly string[]
  /** When the context was made, if it is one from elsewhere: what SOURCE_DATE_EPOCH may ask for. */
  readonly contextTime?: SourceTime
  /** An output that needs SOURCE_DATE_EPOCH is wanted. */
  readonly needsEpoch?: boolean
  /** An output that looks at the result's files is wanted. */
  readonly needsFiles?: boolean
  /** Nothing is built but what stands before it, and a shell opened there. */
  readonly shellAt?: StepPlace
}

/**
 * Whether the registry is asked for an image: `missing` when the store has none of that name;
 * `newer` always, but what the store has will do when there is no answer.
 */
export type PullPolicy = 'always' | 'missing' | 'never' | 'newer'

export interface BuildWorld {
  readonly store: Store
  readonly client: RegistryClient
  /** What `--build-context` gives. */
  readonly contexts: NamedContextNames
  readonly pull: PullPolicy
  /** No network but that of RUN; the client refuses by itself. */
  readonly offline: boolean
  /** Caches of other builds, best first. */
  readonly cacheFrom: readonly CachePlace[]
  readonly secrets: SecretSource
  readonly shell?: ShellSettings
  readonly sandbox: SandboxSettings
  /** The user's environment, for git: proxies, certificates, PATH, the SSH agent. */
  readonly variables: Readonly<Record<string, string | undefined>>
  /** How many steps may run at once. */
  readonly parallelism: number
  readonly emit: EmitBuildEvent
  readonly signal: AbortSignal
  readonly now: () => Date
}
