/**
 * What a container's directory holds beside its files (snapshot/containers.ts), while it runs and
 * after:
 *
 *   control   a named pipe: each byte is a signal for its first process. Only the container's own
 *             monitor reads it, so who finds no reader there can hit no other process
 *   end       empty until it has ended: one line, written at one go
 *   spec.json what starts it again: saved-spec.ts
 *   join.json what a process that joins it takes over: join-record.ts
 *   health    what its checks came to: container-health.ts
 *   log       of a detached one, its output: container-log.ts
 */
import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../oci/errors.ts'
import { ignoreMissing } from '../content/atomic-file.ts'
import { atCwd, syscalls } from '../native/syscalls.ts'
import type { ContainerRecord } from './container-record.ts'

export const endFile = (directory: string): string => join(directory, 'end')
export const logFile = (directory: string): string => join(directory, 'log')

/** Makes the pipe and opens both its ends, as the monitor is to have it. The caller closes it. */
export function openControl(directory: string): number {
  const path = join(directory, 'control')
  rmSync(path, { force: true })
  return openPipe(path)
}

/** A pipe that never ends and that nobody writes to, for a program that waits for input. */
export function openEndlessInput(directory: string): number {
  const path = join(directory, 'input')
  const fd = openPipe(path)
  rmSync(path)
  return fd
}

function openPipe(path: string): number {
  syscalls().mknodat(atCwd, path, [constants.S_IFIFO | 0o600, 0, 0])
  return openSync(path, constants.O_RDWR | constants.O_NOFOLLOW)
}

/** New and empty. The caller closes it. */
export function openEmpty(path: string): number {
  return openFile(path, constants.O_TRUNC)
}

/** With what is in it; made when missing. The caller closes it. */
export function openKept(path: string): number {
  return openFile(path, 0)
}

function openFile(path: string, flags: number): number {
  return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | flags, 0o600)
}

/** Whether somebody was there to hear it. */
export function sendSignal(directory: string, signal: number): boolean {
  let fd: number
  try {
    fd = openSync(
      join(directory, 'control'),
      constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW,
    )
  } catch (error) {
    if (hasCode(error, 'ENXIO') || hasCode(error, 'ENOENT')) return false
    throw error
  }
  try {
    writeSync(fd, Uint8Array.of(signal))
    return true
  } finally {
    closeSync(fd)
  }
}

/** How a container ended; `undefined` while it runs, and when its monitor was killed. */
export async function readEnd(directory: string): Promise<ContainerRecord['end']> {
  const text = await readFile(endFile(directory), 'utf8').catch(ignoreMissing)
  return text === undefined ? undefined : parseEnd(text)
}

/** `CODE SIGNAL OUT-OF-MEMORY SECONDS.MILLISECONDS`, as native/sandbox/keep.c writes it. */
export function parseEnd(text: string): ContainerRecord['end'] {
  const [, code, signal, outOfMemory, seconds] =
    /^(\d{1,3}) (\d{1,2}) ([01]) (\d{1,12}\.\d{3})\n$/.exec(text) ?? []
  if (code === undefined) return undefined
  return {
    code: Number(code),
    ...(signal === '0' ? {} : { signal: Number(signal) }),
    outOfMemory: outOfMemory === '1',
    at: new Date(Number(seconds) * 1000).toISOString(),
  }
}
