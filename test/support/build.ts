/** Builds in a store of the test's own, on a base of Debian's busybox, looking at what came out. */
import { createReadStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { build } from '../../src/builder/build.ts'
import type { BuildEvent } from '../../src/builder/build-event.ts'
import type { BuildRequest, BuildWorld } from '../../src/builder/build-request.ts'
import type { BuildResult } from '../../src/builder/build-result.ts'
import { type CheckReport, checkBuild } from '../../src/builder/check-build.ts'
import { missText } from '../../src/builder/explain/miss.ts'
import type { Entitlement } from '../../src/builder/plan/build-args.ts'
import { parseNamedContext } from '../../src/builder/sources/context-name.ts'
import { importRootfs } from '../../src/layerfs/image/import-rootfs.ts'
import { openRoot, type Root } from '../../src/layerfs/layer/rootfs.ts'
import { openStore, type Store } from '../../src/layerfs/store.ts'
import { chainIds } from '../../src/oci/digest.ts'
import { hostPlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { createRegistryClient } from '../../src/registry/client/client.ts'
import { busyboxRootfs } from './busybox.ts'

export interface Workshop extends AsyncDisposable {
  readonly directory: string
  readonly store: Store
  /** Files of the build context, by path; they stay until written over. */
  write(files: Readonly<Record<string, string>>): void
  build(dockerfile: string, options?: BuildOptions): Promise<Built>
  check(dockerfile: string, options?: BuildOptions): Promise<CheckReport>
}

export interface BuildOptions {
  /** Another directory than the workshop's own. */
  readonly context?: string
  readonly ignore?: string
  /** `--build-context`, by name. */
  readonly contexts?: Readonly<Record<string, string>>
  readonly target?: string
  readonly buildArgs?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  readonly rerun?: BuildRequest['rerun']
  readonly needsEpoch?: boolean
  readonly needsFiles?: boolean
  readonly pull?: BuildWorld['pull']
  readonly runArgs?: 'declared' | 'named'
  readonly secrets?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  readonly allowed?: readonly Entitlement[]
  /** Sockets of SSH agents, by id. */
  readonly agents?: Readonly<Record<string, string>>
  readonly variables?: BuildWorld['variables']
  readonly network?: BuildWorld['sandbox']['network']
  readonly resourceLimits?: BuildWorld['sandbox']['resourceLimits']
  readonly store?: Store
}

export interface Built extends Disposable {
  readonly result: BuildResult
  readonly events: readonly BuildEvent[]
  /** Names of the steps that ran, and of those that were found in the cache. */
  readonly worked: readonly string[]
  readonly cached: readonly string[]
  /** Why steps ran, in words. */
  readonly misses: readonly string[]
  /** All output of the steps. */
  readonly log: string
  readonly root: Root
  /** `mode uid:gid size` of a path, the link itself if it is one. */
  describe(path: string): string
  read(path: string): string
}

/** `busybox` is an image of the store. */
export async function openWorkshop(): Promise<Workshop> {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-workshop-'))
  const context = join(directory, 'context')
  mkdirSync(context)
  const store = await openStore(join(directory, 'store'))
  await importBusybox(store, directory)
  const client = createRegistryClient({ userAgent: 'tsbuild/test' })
  return {
    directory,
    store,
    write: files => {
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(context, path)), { recursive: true })
        writeFileSync(join(context, path), text)
      }
    },
    build: async (dockerfile, options = {}) => {
      const events: BuildEvent[] = []
      const used = options.store ?? store
      const world: BuildWorld = {
        store: used,
        client,
        pull: options.pull ?? 'missing',
        offline: false,
        contexts: contextsOf(options),
        cacheFrom: [],
        secrets: async id => {
          const secret = options.secrets?.[id]
          return secret === undefined ? undefined : Buffer.from(secret)
        },
        sandbox: {
          network: options.network ?? 'none',
          agents: new Map(Object.entries(options.agents ?? {})),
          extraHosts: [],
          shmSize: 64 * 1024 * 1024,
          resourceLimits: options.resourceLimits ?? [],
          limits: {},
          stubs: used.stubs,
        },
        variables: options.variables ?? process.env,
        parallelism: 2,
        emit: event => events.push(event),
        signal: options.signal ?? new AbortController().signal,
        now: () => new Date(),
      }
      const result = await build(requestOf(dockerfile, options.context ?? context, options), world)
      return inspect(result, events, used)
    },
    check: async (dockerfile, options = {}) => {
      const request = requestOf(dockerfile, options.context ?? context, options)
      const { signal } = new AbortController()
      const contexts = contextsOf(options)
      const emit = () => undefined
      return checkBuild(request, { store, client, contexts, pull: 'missing', emit, signal })
    },
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]()
      // The store is not closed: closing syncs it to the disk, and it is about to be deleted.
      rmSync(directory, { recursive: true, force: true, maxRetries: 20 })
    },
  }
}

async function importBusybox(store: Store, directory: string): Promise<void> {
  const tar = createReadStream(busyboxRootfs(directory))
  const platform = hostPlatform(process.arch)
  const config = { created: '2026-01-01T00:00:00Z', ...platform, config: {} }
  const target = await importRootfs(Readable.from(tar), config, store.content)
  await store.images.set({ reference: parseReference('busybox'), target })
}

function contextsOf({ contexts = {} }: BuildOptions): BuildWorld['contexts'] {
  return new Map(
    Object.entries(contexts).map(([name, value]) => [name, parseNamedContext(value)] as const),
  )
}

function requestOf(dockerfile: string, context: string, options: BuildOptions): BuildRequest {
  const platform = hostPlatform(process.arch)
  return {
    dockerfile: { name: 'Dockerfile', text: dockerfile },
    context,
    ignore: options.ignore ?? '',
    plan: {
      buildArgs: new Map(Object.entries(options.buildArgs ?? {})),
      buildPlatform: platform,
      targetPlatform: platform,
      isMultiPlatform: false,
      allowed: new Set(options.allowed),
      runArgs: options.runArgs ?? 'declared',
      namedContexts: new Set(contextsOf(options).keys()),
      ...(options.target === undefined ? {} : { target: options.target }),
    },
    labels: new Map(Object.entries(options.labels ?? {})),
    rerun: options.rerun ?? [],
    needsEpoch: options.needsEpoch ?? false,
    needsFiles: options.needsFiles ?? false,
  }
}

async function inspect(
  result: BuildResult,
  events: readonly BuildEvent[],
  store: Store,
): Promise<Built> {
  const chain = chainIds(result.layers).at(-1)
  const { signal } = new AbortController()
  if (chain !== undefined) await result.filesystems.materialize(chain, signal)
  const mount =
    chain === undefined
      ? ({ kind: 'directory', path: store.stubs, readOnly: true } as const)
      : await store.snapshots.view(chain)
  const root = openRoot(mount)
  const names = new Map(
    events.flatMap(event => (event.kind === 'started' ? [[event.id, event.name] as const] : [])),
  )
  const ended = (how: 'cached' | 'worked') =>
    events.flatMap(event =>
      event.kind === 'done' && event.how === how && /^\d+\.\d+$/.test(event.id)
        ? [names.get(event.id) ?? '']
        : [],
    )
  return {
    result,
    events,
    worked: ended('worked'),
    cached: ended('cached'),
    misses: events.flatMap(event => (event.kind === 'miss' ? [missText(event.miss)] : [])),
    log: events
      .map(event => (event.kind === 'log' ? Buffer.from(event.bytes).toString() : ''))
      .join(''),
    root,
    describe: path => {
      const { mode, uid, gid, size } = root.stat(path, 'keep')
      const isDir = (mode & 0o170000) === 0o040000
      return `${mode.toString(8)} ${uid}:${gid}${isDir ? '' : ` ${size}`}`
    },
    read: path => root.readFile(path, 1 << 20).toString(),
    [Symbol.dispose]: () => root[Symbol.dispose](),
  }
}
