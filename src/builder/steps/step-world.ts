/**
 * StepWorld: everything outside the program that a step may touch.
 */

import type { EarlySandboxes } from '../../layerfs/sandbox/early-sandboxes.ts'
import type { Spawner } from '../../layerfs/sandbox/spawner.ts'
import type { ResourceLimit, SandboxSpec } from '../../layerfs/sandbox/spec.ts'
import type { Snapshotter } from '../../layerfs/snapshot/snapshotter.ts'
import type { Inventories } from '../explain/inventory.ts'
import type { Filesystems } from '../filesystems.ts'
import type { GitSource } from '../plan/git-source.ts'
import type { ShellSettings } from '../shell.ts'
import type { TwinResults } from '../twin-results.ts'
import type { DirectoryLook } from './cache-mount.ts'
import type { SourceTree } from './source-tree.ts'
import type { StatCache } from './stat-cache.ts'

export interface StepWorld {
  readonly snapshots: Snapshotter
  /** Brings what a step reads into the store. */
  readonly filesystems: Pick<Filesystems, 'materialize' | 'addLaid'>
  /** The build context, opened once for the whole build. */
  readonly context: SourceTree
  readonly contextCache: StatCache
  /** The files of a named context, open until the build ends. */
  readonly namedContext: (name: string) => Promise<OpenedContext>
  readonly sources: RemoteSources
  readonly memo: Memo
  readonly twins: TwinResults
  readonly inventories: Inventories
  readonly secrets: SecretSource
  readonly sandbox: SandboxSettings
  /** Of its sandboxes; open until the build ends. */
  readonly spawner: Spawner
  readonly early: EarlySandboxes
  /** The nodes that a RUN is built on. */
  readonly followed: ReadonlySet<string>
  /** The nodes whose files something looks at: another node, or an output. */
  readonly read: ReadonlySet<string>
  /** Directories that outlive builds: `RUN --mount=type=cache`. */
  readonly cacheMounts: string
  /** Fills a cache mount's directory with what another build's cache has of it; absent: none has. */
  readonly restoreMount?: (mount: MountPlace) => Promise<DirectoryLook | undefined>
  /** What `FROM scratch` looks like to a COPY that reads from it. */
  readonly emptyDirectory: string
  readonly shell?: ShellSettings
  readonly log: (nodeId: string, stream: 'stdout' | 'stderr', bytes: Uint8Array) => void
  readonly warn: (nodeId: string, message: string) => void
  readonly now: () => Date
}

export interface MountPlace {
  readonly id: string
  readonly path: string
  readonly signal: AbortSignal
}

export interface OpenedContext {
  readonly tree: SourceTree
  readonly cache: StatCache
}

/** What ADD takes from elsewhere. */
export interface RemoteSources {
  /** What stands for the bytes in a cache key: their digest, or the checksum that they must have. */
  identifyUrl(url: string, options: UrlOptions): Promise<string>
  /** Throws when the URL cannot be fetched, `digest-mismatch` for other bytes than `checksum`'s. */
  downloadUrl(url: string, options: UrlOptions): Promise<DownloadedFile>
  /** The commit that a repository's ref is at. */
  resolveGit(source: GitSource, signal: AbortSignal): Promise<string>
  /** The files of that commit; open until the build ends. */
  openGit(source: GitSource, signal: AbortSignal): Promise<SourceTree>
}

export interface UrlOptions {
  readonly checksum?: string
  readonly signal: AbortSignal
}

export interface DownloadedFile {
  /** Where the bytes are; not to be changed. */
  readonly file: string
  /** When the server says that it last changed, in seconds since 1970; 0 if it does not. */
  readonly modified: number
}

/** Remembers what is true forever: digests of files in an immutable filesystem. */
export interface Memo {
  find(key: string): Promise<Readonly<Record<string, string>> | undefined>
  put(key: string, value: Readonly<Record<string, string>>): Promise<void>
}

/** BuildKit's limit; a secret is a key, not a file tree. */
export const maxSecretSize = 500 * 1024

/** `undefined` when the user gave no secret of that name. Of a longer one than may be, the start. */
export type SecretSource = (id: string) => Promise<Uint8Array | undefined>

export interface SandboxSettings {
  /** What `--network` says for steps that do not say. */
  readonly network: 'bridge' | 'none' | 'host'
  /** Sockets of the user's SSH agents, by id (`--ssh`). */
  readonly agents: ReadonlyMap<string, string>
  readonly extraHosts: readonly { readonly name: string; readonly address: string }[]
  /** Bytes of /dev/shm. */
  readonly shmSize: number
  /** `--ulimit`; in no cache key, as they are about the machine (K02). */
  readonly resourceLimits: readonly ResourceLimit[]
  /** `--memory` and the like; in no cache key either. */
  readonly limits: SandboxSpec['limits']
  /** See `layerfs/store.ts`. */
  readonly stubs: string
  /** The path of another runtime that makes them; absent: we do. */
  readonly runtime?: string
}
