/** Bytes through a program of this machine: never one that an image or a user provides. */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import type { Chunks } from './byte-source.ts'
import { feed } from './feed.ts'

export interface Program {
  readonly action: 'compress' | 'decompress'
  readonly program: string
  readonly args: readonly string[]
  /** The Debian package that has it. */
  readonly package: string
}

/** Where the system's own programs are. */
const directories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** The file of a program of the system; `undefined` when it has none of that name. */
export function programPath(program: string): string | undefined {
  return directories.map(directory => join(directory, program)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * What the program makes of `source`. Throws whatever `source` throws, `invalid` with the program's
 * words when it fails, `unsupported` when the system has none. The program has ended when the
 * consumer is done, also when it stops early.
 */
export async function* throughProgram(source: Chunks, wanted: Program): AsyncGenerator<Uint8Array> {
  const child = start(wanted)
  const exit = exitOf(child)
  exit.catch(() => {})
  let complaint = ''
  child.stderr.on('data', text => {
    complaint = `${complaint}${text}`.slice(0, 500)
  })
  // A program that ends early breaks the pipe; its exit code says why.
  child.stdin.on('error', () => {})
  let failure: { readonly error: unknown } | undefined
  const feeding = feed(source, child.stdin).catch((error: unknown) => {
    failure = { error }
    child.kill('SIGKILL')
  })
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>
    const code = await exit
    await feeding
    if (failure !== undefined) throw failure.error
    if (code !== 0) throw failed(wanted, complaint)
  } finally {
    child.kill('SIGKILL')
  }
}

function start(wanted: Program) {
  const path = programPath(wanted.program)
  if (path === undefined) throw missing(wanted)
  return spawn(path, wanted.args, { stdio: ['pipe', 'pipe', 'pipe'], env: { LC_ALL: 'C' } })
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', reject)
  })
}

function failed({ action, program }: Program, complaint: string): OciError {
  return new OciError(
    'invalid',
    `Cannot ${action}: ${program} says "${printable(complaint.trim())}"`,
  )
}

function missing({ action, program, package: name }: Program): OciError {
  return new OciError('unsupported', `Cannot ${action}: no program "${program}"`, {
    hint: `install it (Debian: apt-get install ${name})`,
  })
}
