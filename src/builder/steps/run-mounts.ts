/**
 * The mounts of a RUN: scripts of heredocs, tmpfs, secrets and cache directories. Nothing of them
 * reaches the layer.
 *
 * Reference: H05, R10–R12. What is not here is refused by name in `unsupported.ts`.
 */
import type { SandboxMount } from '../../layerfs/sandbox/spec.ts'
import { OciError, printable } from '../../oci/errors.ts'
import type { InlineFile, RunMount, RunStep } from '../plan/step.ts'
import { type CacheMount, type HeldCaches, holdCaches } from './cache-mount.ts'
import type { StepWorld } from './step-world.ts'

export interface PreparedMounts extends Disposable {
  readonly mounts: readonly SandboxMount[]
  /** `KEY=value`: secrets as variables. */
  readonly env: readonly string[]
}

interface Prepared {
  readonly mounts: SandboxMount[]
  readonly env: string[]
}

/** Cache directories stay locked until the result is disposed. */
export async function prepareMounts(
  step: RunStep,
  world: StepWorld,
  signal: AbortSignal,
): Promise<PreparedMounts> {
  const prepared: Prepared = { mounts: step.scripts.map(scriptMount), env: [] }
  const isCache = (mount: RunMount): mount is CacheMount => mount.kind === 'cache'
  const caches = await holdCaches(world.cacheMounts, step.mounts.filter(isCache), signal)
  try {
    for (const mount of step.mounts) await prepareMount(mount, prepared, { world, caches })
  } catch (error) {
    caches[Symbol.dispose]()
    throw error
  }
  return { ...prepared, [Symbol.dispose]: () => caches[Symbol.dispose]() }
}

interface MountContext {
  readonly world: StepWorld
  readonly caches: HeldCaches
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
    case 'ssh':
      throw new Error(`A ${mount.kind} mount came through unsupported.ts`)
  }
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

/** BuildKit's limit; a secret is a key, not a file tree. */
const maxSecretSize = 500 * 1024

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
      `secret ${printable(mount.id)}: ${content.length} bytes, at most ${maxSecretSize} are allowed`,
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
