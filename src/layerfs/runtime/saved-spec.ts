/**
 * What a container was started with, to start it again: `spec.json` beside its record, without what
 * is found anew each time, its root and its address. It is the user's word, as the record is.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { RootMount } from '../mount.ts'
import type { SandboxMount, SandboxSpec } from '../sandbox/spec.ts'

const fileOf = (directory: string) => join(directory, 'spec.json')

/** Bytes as text. */
interface Encoded {
  readonly base64: string
}

const encoded = (bytes: Uint8Array): Encoded => ({ base64: Buffer.from(bytes).toString('base64') })

export function saveSpec(directory: string, { root: _, ...spec }: SandboxSpec): void {
  const { mounts, security } = spec
  const { seccomp } = security
  const saved = {
    ...spec,
    security: { ...security, seccomp: typeof seccomp === 'object' ? encoded(seccomp) : seccomp },
    mounts: mounts.map(mount =>
      mount.kind === 'file' ? { ...mount, content: encoded(mount.content) } : mount,
    ),
  }
  writeFileSync(fileOf(directory), JSON.stringify(saved), { mode: 0o600 })
}

/**
 * The same with `root`. Throws `not-found` for a container of an earlier version, `unsupported` for
 * one that was in the namespaces of others, who may be gone or be somebody else by now.
 */
export function savedSpec(directory: string, root: RootMount): SandboxSpec {
  const spec = read(directory)
  if ((spec.joined ?? []).length > 0) {
    throw new OciError(
      'unsupported',
      'Cannot start the container again: it was in the namespaces of another',
      { hint: 'Run a new one' },
    )
  }
  const { seccomp } = spec.security as unknown as { readonly seccomp: string | Encoded }
  return {
    ...spec,
    root,
    security: {
      ...spec.security,
      seccomp:
        typeof seccomp === 'object' ? Buffer.from(seccomp.base64, 'base64') : spec.security.seccomp,
    },
    mounts: spec.mounts.map(decodeMount),
  }
}

/** What it has mounted beside its root. Throws `not-found` as {@link savedSpec}. */
export function savedMounts(directory: string): readonly SandboxMount[] {
  return read(directory).mounts
}

function decodeMount(mount: SandboxMount): SandboxMount {
  if (mount.kind !== 'file') return mount
  const { base64 } = mount.content as unknown as Encoded
  return { ...mount, content: Buffer.from(base64, 'base64') }
}

function read(directory: string): Omit<SandboxSpec, 'root'> {
  try {
    return JSON.parse(readFileSync(fileOf(directory), 'utf8')) as Omit<SandboxSpec, 'root'>
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    throw new OciError(
      'not-found',
      'Cannot find how the container was started: another runtime made it, or an earlier version',
    )
  }
}
