/**
 * How a container is, by the file that its monitor writes: native/sandbox/health.c has the format. What
 * the checks wrote is the container's word: any bytes at all.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, printable } from '../../oci/errors.ts'
import type { Healthcheck } from '../../oci/image-config.ts'
import { SandboxError } from '../sandbox/sandbox-error.ts'
import type { Container } from './container-list.ts'
import { isPaused } from './container-processes.ts'
import { healthCheckOf } from './healthcheck.ts'

export const healthStatuses = ['starting', 'healthy', 'unhealthy'] as const
export type HealthStatus = (typeof healthStatuses)[number]

export interface Health {
  readonly status: HealthStatus
  /** Checks that failed since one succeeded. */
  readonly failingStreak: number
  /** The last five, the oldest first. */
  readonly log: readonly HealthResult[]
}

export interface HealthResult {
  /** ISO 8601. */
  readonly start: string
  readonly end: string
  /** -1 where there is none: it took too long, or did not start. */
  readonly exitCode: number
  readonly output: string
}

export const healthFile = (directory: string): string => join(directory, 'health')

/** Its path, of a container that begins again: what was written of it before is forgotten. */
export function newHealthFile(directory: string): string {
  const path = healthFile(directory)
  rmSync(path, { force: true })
  return path
}

/**
 * `undefined` for a container that nothing checks, and for one that never ran. One that does nothing
 * at the moment, as it is paused or has ended, is not healthy: docker's rule.
 */
export function healthOf(container: Container): Health | undefined {
  const { record, path, isRunning } = container
  const healthcheck = record?.healthcheck
  if (record?.startedAt === undefined || !isChecked(healthcheck)) return undefined
  const health = readHealth(path, healthcheck)
  return isRunning && !isPaused(container) ? health : { ...health, status: 'unhealthy' }
}

function isChecked(healthcheck: Healthcheck | undefined): healthcheck is Healthcheck {
  const [kind = 'NONE'] = healthcheck?.Test ?? []
  return kind !== 'NONE'
}

const unknown: Health = { status: 'starting', failingStreak: 0, log: [] }

function readHealth(directory: string, healthcheck: Healthcheck): Health {
  let bytes: Buffer
  try {
    bytes = readFileSync(healthFile(directory))
  } catch (error) {
    // Between its start and the monitor's first word.
    if (hasCode(error, 'ENOENT')) return unknown
    throw error
  }
  return parseHealth(bytes, healthCheckOf(healthcheck)?.timeout ?? 0) ?? unknown
}

/** `undefined` for bytes that no monitor wrote. `timeout`: of a check, in milliseconds. */
export function parseHealth(bytes: Buffer, timeout: number): Health | undefined {
  const head = lineAt(bytes, 0)
  const [, status = '', streak = ''] =
    /^(starting|healthy|unhealthy) (\d{1,15})$/.exec(head.text) ?? []
  if (streak === '') return undefined
  const log: HealthResult[] = []
  for (let at = head.end; at < bytes.length; ) {
    const line = lineAt(bytes, at)
    const [, start = '', end = '', result = '', size = ''] = resultLine.exec(line.text) ?? []
    const next = line.end + Number(size) + 1
    if (size === '' || next > bytes.length) return undefined
    const written = bytes.subarray(line.end, next - 1)
    log.push({ start: timeFrom(start), end: timeFrom(end), ...outcomeOf(result, written, timeout) })
    at = next
  }
  return { status: status as HealthStatus, failingStreak: Number(streak), log }
}

const resultLine = /^(\d{1,12}\.\d{3}) (\d{1,12}\.\d{3}) (\d{1,3}|timeout|failed|lost) (\d{1,4})$/

function lineAt(bytes: Buffer, at: number): { readonly text: string; readonly end: number } {
  const end = bytes.indexOf(10, at)
  if (end === -1) return { text: '', end: bytes.length }
  return { text: bytes.toString('latin1', at, end), end: end + 1 }
}

const timeFrom = (seconds: string) => new Date(Number(seconds) * 1000).toISOString()

function outcomeOf(
  result: string,
  written: Buffer,
  timeout: number,
): Pick<HealthResult, 'exitCode' | 'output'> {
  switch (result) {
    case 'timeout': {
      const text = textOf(written)
      const why = `Health check exceeded timeout (${timeout / 1000}s)`
      return { exitCode: -1, output: text === '' ? why : `${why}: ${text}` }
    }
    case 'failed':
      return { exitCode: -1, output: whyNotStarted(written) }
    case 'lost':
      return { exitCode: -1, output: 'Health check was killed before it could tell how it ended' }
    default:
      return { exitCode: Number(result), output: textOf(written) }
  }
}

/** As docker shows it: the beginning, and dots where more followed. */
const longestOutput = 4096

/** Its lines and tabs are kept, nothing else that a terminal obeys. */
function textOf(written: Buffer): string {
  const text = written.toString('utf8', 0, longestOutput)
  const harmless = text.replace(/[^\n\t]+/g, part => printable(part, part.length))
  return written.length > longestOutput ? `${harmless}...` : harmless
}

/** The words of the native program's record of an error: report.c. */
function whyNotStarted(words: Buffer): string {
  const [step = '', errno = '', detail = ''] = words.toString('utf8').split('\0')
  return new SandboxError({ step, errno: Number(errno), detail }).message
}
