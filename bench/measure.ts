/** Timings as medians, and tables of them. */
import { spawnSync } from 'node:child_process'

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

export interface Contest {
  /** Ours first. What each does in every run. */
  readonly works: readonly ((run: number) => unknown)[]
  /** Around each of them, not measured. */
  readonly before?: () => unknown
  readonly after?: () => unknown
}

/**
 * How long each of `works` takes, in milliseconds, run by run. They take turns: what else the
 * machine does meanwhile hits all of them alike.
 */
export async function contest(
  runs: number,
  { works, before, after }: Contest,
): Promise<number[][]> {
  const times: number[][] = works.map(() => [])
  for (let run = 0; run < runs; run++) {
    for (const [i, work] of works.entries()) {
      await before?.()
      const start = performance.now()
      await work(run)
      times[i]?.push(performance.now() - start)
      await after?.()
    }
  }
  return times
}

/** Of this process so far, in bytes; getrusage(2) tells kibibytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024
}

/** Another program's work. Throws, with what it said, unless it ends with 0. */
export function command(program: string, args: readonly string[], env = cleanEnvironment): string {
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env })
  if (error !== undefined) throw error
  if (status === 0) return stdout
  throw new Error(`${program} ${args.join(' ')}: exit code ${status}\n${stdout}${stderr}`)
}

export const cleanEnvironment = { PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }

export function isThere(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map(row => (row[i] ?? '').length)))
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
  return [head, ...rows].map(row => `${line(row).join('  ').trimEnd()}\n`).join('')
}
