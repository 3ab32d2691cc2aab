/**
 * What a process that joins a container takes over from it: `join.json` beside its record, written
 * before it runs. Nothing in it outlives the container, so it is not synced.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { ResourceLimit, SandboxSpec, SandboxUser, Security } from '../sandbox/spec.ts'

export interface JoinRecord {
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: SandboxUser
  readonly capabilities: readonly string[]
  readonly seccomp: Security['seccomp']
  readonly noNewPrivileges: boolean
  readonly resourceLimits: readonly ResourceLimit[]
  /** For containers that share its network. */
  readonly hostname?: string
}

const fileOf = (directory: string) => join(directory, 'join.json')

/** What nobody of ours may join: its first process is not the one that we know of. */
export function removeJoinRecord(directory: string): void {
  rmSync(fileOf(directory), { force: true })
}

export function writeJoinRecord(directory: string, spec: SandboxSpec): void {
  const { env, cwd, user, security, hostname, resourceLimits = [] } = spec
  const { capabilities, seccomp, noNewPrivileges } = security
  const record = {
    ...{ env, cwd, user, capabilities, noNewPrivileges, resourceLimits, hostname },
    seccomp:
      typeof seccomp === 'object' ? { program: Buffer.from(seccomp).toString('base64') } : seccomp,
  }
  writeFileSync(fileOf(directory), JSON.stringify(record), { mode: 0o600 })
}

/** Throws `not-found` for a container of an earlier version, which wrote none. */
export function readJoinRecord(directory: string): JoinRecord {
  let text: string
  try {
    text = readFileSync(fileOf(directory), 'utf8')
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    throw new OciError(
      'not-found',
      'Cannot join the container: another runtime made it, or an earlier version',
    )
  }
  const record = JSON.parse(text) as Omit<JoinRecord, 'seccomp'> & {
    readonly seccomp: 'default' | 'unconfined' | { readonly program: string }
  }
  const { seccomp } = record
  return {
    ...record,
    seccomp: typeof seccomp === 'object' ? Buffer.from(seccomp.program, 'base64') : seccomp,
  }
}
