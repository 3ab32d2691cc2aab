/**
 * Set up for every test file: none leaves a process that holds the output of the one that ran it.
 * vitest's main process would wait for its end after the last test, and give up after ten seconds.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll } from 'vitest'

/** The last hook that runs: the file's own, which end what it started, come before. */
afterAll(async () => {
  const deadline = Date.now() + 5000
  let left = holders()
  while (left.length > 0 && Date.now() < deadline) {
    await pause(100)
    left = holders()
  }
  if (left.length > 0) throw new Error(`Left behind, holding our output:\n${left.join('\n')}`)
}, 30_000)

/** As `PID command`: who has one of our streams, which no others have but by descent. */
function holders(): string[] {
  const own = [1, 2].flatMap(fd => targetOf(process.pid, fd) ?? [])
  const streams = new Set(own.filter(target => /^(pipe|socket):/.test(target)))
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter(pid => [0, 1, 2].some(fd => streams.has(targetOf(pid, fd) ?? '')))
    .map(pid => `${pid} ${commandOf(pid)}`)
}

/** `undefined` for what is no process any more. */
function targetOf(pid: string | number, fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch {
    return undefined
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 200)
  } catch {
    return 'is gone'
  }
}
