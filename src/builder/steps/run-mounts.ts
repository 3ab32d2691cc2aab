/**
 * The mounts of a RUN: scripts of heredocs, directories of stages, images and the context, tmpfs,
 * secrets, SSH agents and cache directories. Nothing of them reaches the layer.
 *
 * Reference: H05, R09–R16.
 */
import { copyTree } from '../../layerfs/layer/copy.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import type { SandboxMount } from '../../layerfs/sandbox/spec.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { InlineFile, RunMount, RunStep } from '../plan/step.ts'
import { chainOf, type StepResult } from '../solve/graph.ts'
import { type CacheMount, type HeldCaches, holdCaches } from './cache-mount.ts'
import { type MountInputs, withSourceDirectory, withSources } from './mount-sources.ts'
import { viewOf } from './open-source.ts'
import { forwardAgent } from './ssh-agent.ts'
import { maxSecretSize } from './step-world.ts'

export interface PreparedMounts extends AsyncDisposable {
  readonly mounts: readonly SandboxMount[]
  /** `KEY=value`: secrets as variables. */
  readonly env: readonly string[]
}

interface Prepared {
  readonly mounts: SandboxMount[]
  readonly env: string[]
  /** Made for this run: layers that take the writes to be forgotten, sockets. Last in, first out. */
  readonly discarded: AsyncDisposable[]
}

/**
 * In the order of their targets: one below another comes after it, and of two with one target the
 * last one shows (R14). Cache directories stay locked until the result is disposed.
 */
export async function prepareMounts(step: RunStep, inputs: MountInputs): Promise<PreparedMounts> {
  const { world, signal } = inputs
  const sources = new Map<RunMount, StepResult>(
    withSources(step, inputs).map(({ mount, result }) => [mount, result]),
  )
  const mounts = step.mounts.map(mount => seededFrom(mount, sources.get(mount), inputs))
  const caches = await holdCaches(world.cacheMounts, mounts.filter(isCache), signal)
  const prepared: Prepared = { mounts: step.scripts.map(scriptMount), env: [], discarded: [] }
  const release = async () => {
    using _caches = caches
    for (const made of prepared.discarded.toReversed()) await made[Symbol.asyncDispose]()
  }
  try {
    for (const [index, mount] of mounts.entries()) {
      const source = sources.get(step.mounts[index] ?? mount)
      const agent = step.mounts.slice(0, index).filter(({ kind }) => kind === 'ssh').length
      await prepareMount(mount, prepared, { ...inputs, caches, source, agent })
    }
  } catch (error) {
    await release()
    throw error
  }
  const { env } = prepared
  return { env, mounts: byTarget(prepared.mounts), [Symbol.asyncDispose]: release }
}

function byTarget(mounts: readonly SandboxMount[]): SandboxMount[] {
  return mounts.toSorted((a, b) => (a.target < b.target ? -1 : a.target === b.target ? 0 : 1))
}

interface MountContext extends MountInputs {
  readonly caches: HeldCaches
  /** Of a mount that shows files of somewhere else. */
  readonly source: StepResult | undefined
  /** How many ssh mounts stand before this one. */
  readonly agent: number
}

function isCache(mount: RunMount): mount is CacheMount {
  return mount.kind === 'cache'
}

/** A cache with a source is another one for every content of that source, and begins with it. */
function seededFrom(
  mount: RunMount,
  source: StepResult | undefined,
  { world, signal }: MountInputs,
): RunMount | CacheMount {
  if (mount.kind !== 'cache') return mount
  const { restoreMount } = world
  if (source === undefined) {
    if (restoreMount === undefined) return mount
    return { ...mount, seed: path => restoreMount({ id: mount.id, path, signal }) }
  }
  return {
    ...mount,
    id: [mount.id, chainOf(source) ?? 'scratch', mount.source].join('\0'),
    seed: async path => {
      const view = await viewOf(source, world, signal)
      await withSourceDirectory(mount, view, from => {
        using root = openRoot({ kind: 'directory', path, readOnly: false })
        copyTree(from, { root, path: '/' })
      })
      return undefined
    },
  }
}

async function prepareMount(mount: RunMount, into: Prepared, context: MountContext): Promise<void> {
  switch (mount.kind) {
    case 'tmpfs': {
      const { target, size } = mount
      into.mounts.push({
        kind: 'tmpfs',
        target,
        mode: 0o1777,
        ...(size === undefined ? {} : { size }),
      })
      return
    }
    case 'secret':
      return prepareSecret(mount, into, context)
    case 'cache': {
      const { id, target, readOnly } = mount
      const source = context.caches.pathOf(id)
      into.mounts.push({ kind: 'bind', source, target, readOnly, recursive: false })
      return
    }
    case 'bind':
      return prepareBind(mount, into, context)
    case 'ssh':
      return prepareAgent(mount, into, context)
  }
}

/** Writes, where they are allowed, go to a layer that is thrown away (R09). */
async function prepareBind(
  { source, target, readOnly }: Extract<RunMount, { kind: 'bind' }>,
  into: Prepared,
  { source: result, world, signal }: MountContext,
): Promise<void> {
  if (result === undefined) throw new Error(`The mount at ${target} has no source`)
  const view = await viewOf(result, world, signal)
  if (readOnly) {
    into.mounts.push({ kind: 'layers', root: view, source, target, readOnly })
    return
  }
  const layer = await world.snapshots.prepare(chainOf(result))
  into.discarded.push(layer)
  into.mounts.push({ kind: 'layers', root: layer.mount, source, target, readOnly })
}

function scriptMount({ path, content }: InlineFile): SandboxMount {
  return {
    kind: 'file',
    target: path,
    content: Buffer.from(content),
    mode: 0o755,
    uid: 0,
    gid: 0,
  }
}

/**
 * Without an agent of that id nothing is at the target, unless one is required; the variable names
 * it all the same, as in BuildKit (R13).
 */
async function prepareAgent(
  mount: Extract<RunMount, { kind: 'ssh' }>,
  into: Prepared,
  { world, agent: number }: MountContext,
): Promise<void> {
  const target = mount.target ?? `/run/buildkit/ssh_agent.${number}`
  if (!into.env.some(pair => pair.startsWith('SSH_AUTH_SOCK='))) {
    into.env.push(`SSH_AUTH_SOCK=${target}`)
  }
  const agent = world.sandbox.agents.get(mount.id)
  if (agent === undefined) {
    if (!mount.required) return
    const id = printable(mount.id)
    throw new OciError('not-found', `no SSH key "${id}" forwarded from the client`, {
      hint: `give an agent with --ssh ${id === 'default' ? id : `${id}=SOCKET`}`,
    })
  }
  const { mode = 0o600, uid = 0, gid = 0 } = mount
  const place = await world.snapshots.stage()
  into.discarded.push(place)
  const forwarded = await forwardAgent(agent, place.upper, { mode, uid, gid })
  into.discarded.push(forwarded)
  into.mounts.push({
    kind: 'bind',
    source: forwarded.path,
    target,
    readOnly: true,
    recursive: false,
  })
}

async function prepareSecret(
  mount: Extract<RunMount, { kind: 'secret' }>,
  into: Prepared,
  { world }: MountContext,
): Promise<void> {
  const content = await world.secrets(mount.id)
  if (content === undefined) {
    if (!mount.required) return
    throw new OciError('not-found', `secret ${printable(mount.id)}: not found`, {
      hint: `give it with --secret id=${printable(mount.id)},src=FILE or env=VARIABLE`,
    })
  }
  if (content.length > maxSecretSize) {
    throw new OciError(
      'too-large',
      `secret ${printable(mount.id)}: longer than the ${maxSecretSize} bytes that a secret may have`,
    )
  }
  if (mount.env !== undefined) into.env.push(`${mount.env}=${Buffer.from(content).toString()}`)
  if (mount.target === undefined) return
  into.mounts.push({
    kind: 'file',
    target: mount.target,
    content,
    mode: mount.mode ?? 0o400,
    uid: mount.uid ?? 0,
    gid: mount.gid ?? 0,
  })
}
