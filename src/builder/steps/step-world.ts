/**
 * StepWorld: everything outside the program that a step may touch.
 */
import type { Snapshotter } from '../../layerfs/snapshot/snapshotter.ts'
import type { ChainId } from '../../oci/digest.ts'
import type { SourceTree } from './source-tree.ts'
import type { StatCache } from './stat-cache.ts'

export interface StepWorld {
  readonly snapshots: Snapshotter
  /** Brings a base image's layers into the store, once, when a step needs their files. */
  readonly materialize: (chain: ChainId, signal: AbortSignal) => Promise<void>
  /** The build context, opened once for the whole build. */
  readonly context: SourceTree
  readonly contextCache: StatCache
  readonly memo: Memo
  readonly secrets: SecretSource
  readonly sandbox: SandboxSettings
  /** Directories that outlive builds: `RUN --mount=type=cache`. */
  readonly cacheMounts: string
  /** What `FROM scratch` looks like to a COPY that reads from it. */
  readonly emptyDirectory: string
  readonly log: (nodeId: string, stream: 'stdout' | 'stderr', bytes: Uint8Array) => void
  readonly warn: (nodeId: string, message: string) => void
  readonly now: () => Date
}

/** Remembers what is true forever: digests of files in an immutable filesystem. */
export interface Memo {
  find(key: string): Promise<Readonly<Record<string, string>> | undefined>
  put(key: string, value: Readonly<Record<string, string>>): Promise<void>
}

/** `undefined` when the user gave no secret of that name. */
export type SecretSource = (id: string) => Promise<Uint8Array | undefined>

export interface SandboxSettings {
  /** What `--network` says for steps that do not say. */
  readonly network: 'bridge' | 'none' | 'host'
  /** Whether a step may ask for the host's network (`--allow network.host`). */
  readonly mayUseHostNetwork: boolean
  readonly extraHosts: readonly { readonly name: string; readonly address: string }[]
  /** Bytes of /dev/shm. */
  readonly shmSize: number
  /** See `layerfs/store.ts`. */
  readonly stubs: string
}
