/** One line for each change that clients made or tried to: who, what, from where, with what result. */
import { openSync } from 'node:fs'
import { type Logger, pino } from 'pino'
import { OciError, printable } from '../../oci/errors.ts'
import { systemReason } from '../../oci/system-error.ts'
import type { RequestLogEntry } from '../../registry/server/application.ts'
import { parseRequestPath, splitTarget } from '../../registry/server/request-path.ts'
import type { Copied } from '../../registry/server/upstream/context.ts'

export interface AuditLog {
  /** Writes a line when the request is one that changes something. */
  take(entry: RequestLogEntry): void
  /** Writes a line: a registry that is pulled through changed what is here. */
  copied(copied: Copied): void
}

/** `-` is stdout; a file is appended to. Throws `invalid` for a file that cannot be written. */
export function openAuditLog(path: string | undefined): AuditLog {
  if (path === undefined) return { take: () => {}, copied: () => {} }
  const log = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: () => ({ log: 'audit' }) },
    },
    // In order and at once: what a client was told is in the log, whatever happens to us next.
    pino.destination({ dest: path === '-' ? 1 : openForAppend(path), sync: true }),
  )
  return { take: entry => write(log, entry), copied: copied => writeCopied(log, copied) }
}

function openForAppend(path: string): number {
  try {
    return openSync(path, 'a', 0o600)
  } catch (cause) {
    throw new OciError(
      'invalid',
      `Cannot open the audit log "${printable(path)}": ${systemReason(cause)}`,
      { cause },
    )
  }
}

function write(log: Logger, entry: RequestLogEntry): void {
  const change = changeOf(entry)
  if (change === undefined) return
  const { user, remote, agent, status } = entry
  // No message, and a mark of its own: stdout may be shared.
  log.info({ ...change, user: user ?? null, remote, agent, status, result: resultOf(status) })
}

function writeCopied(log: Logger, { kind, upstream, repository, digest, tag }: Copied): void {
  const reference = tag ?? digest
  log.info({ action: `copy ${kind}`, repository, reference, digest, upstream, result: 'done' })
}

interface Change {
  readonly action: string
  readonly repository: string
  readonly reference?: string
}

/** Steps of an upload change nothing that anybody sees: its end does. */
function changeOf({ method, target, status }: RequestLogEntry): Change | undefined {
  const endpoint = endpointOf(target)
  if (endpoint === undefined || !('repository' in endpoint)) return undefined
  const { repository } = endpoint
  switch (`${method} ${endpoint.kind}`) {
    case 'PUT manifest':
    case 'DELETE manifest': {
      if (endpoint.kind !== 'manifest') return undefined
      const action = method === 'PUT' ? 'push manifest' : 'delete manifest'
      const { reference } = endpoint
      const name = reference.kind === 'tag' ? reference.tag : reference.digest
      return { action, repository, reference: name }
    }
    case 'DELETE blob':
      if (endpoint.kind !== 'blob') return undefined
      return { action: 'delete blob', repository, reference: endpoint.digest }
    case 'POST uploads':
      // 202 begins an upload; 201 has mounted a blob or taken it whole.
      if (status === 202) return undefined
      return { action: 'push blob', repository, ...named(target, ['mount', 'digest']) }
    case 'PUT upload':
      return { action: 'push blob', repository, ...named(target, ['digest']) }
    case 'POST tag-undo':
      if (endpoint.kind !== 'tag-undo') return undefined
      return { action: 'undo tag', repository, reference: endpoint.tag }
    default:
      return undefined
  }
}

function endpointOf(target: string) {
  try {
    return parseRequestPath(splitTarget(target).path)
  } catch {
    return undefined
  }
}

function named(target: string, parameters: readonly string[]): { readonly reference?: string } {
  const { query } = splitTarget(target)
  const value = parameters.map(name => query.get(name)).find(text => text !== null)
  return value === undefined || value === null ? {} : { reference: value }
}

function resultOf(status: number): 'done' | 'refused' | 'failed' {
  if (status < 400) return 'done'
  return status < 500 ? 'refused' : 'failed'
}
