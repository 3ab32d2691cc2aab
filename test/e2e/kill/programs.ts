/**
 * The programs as processes of their own, with a native program of their own: its path, the work
 * directory and a variable tell their processes from everything else on the machine.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { busyboxRootfs } from '../../support/busybox.ts'
import { compileSources } from '../../support/compiled.ts'

const checkout = fileURLToPath(new URL('../../..', import.meta.url))

export type ProgramName = 'tsbuild' | 'tsregistry' | 'tsrun'

export interface Ended {
  /** `null` when a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly milliseconds: number
}

export interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
}

export interface ProgramCall {
  /** The store; default: `store` in the work directory. */
  readonly store?: string
  /** Words before the program: `unshare -m …`. */
  readonly under?: readonly string[]
}

export interface Programs extends Disposable {
  /** For the test's files; gone at the end. */
  readonly work: string
  /** The compiled programs' directory. */
  readonly dist: string
  /** What is in the variable `KILL_MARK` of every container that the test starts. */
  readonly mark: string
  start(name: ProgramName, args: readonly string[], call?: ProgramCall): Started
  /** Waits for the end; throws when it is not 0, quoting what it wrote. */
  run(name: ProgramName, args: readonly string[], call?: ProgramCall): Promise<Ended>
  /** Puts the image `busybox` into the store. */
  importBusybox(call?: ProgramCall): Promise<Ended>
}

export function openPrograms(): Programs {
  const compiled = compileSources()
  const home = dirname(compiled.dist)
  // A rebuild in the checkout must not change what we run, and the path must be ours.
  rmSync(join(home, 'build'))
  cpSync(join(checkout, 'build'), join(home, 'build'), { recursive: true })
  const work = mkdtempSync(join(tmpdir(), 'tsbuild-kill-'))
  const start: Programs['start'] = (name, args, call = {}) => {
    const words = [
      ...(call.under ?? []),
      process.execPath,
      join(compiled.dist, `cli/${name}.js`),
      ...args,
    ]
    return startProcess(words, { work, store: call.store ?? join(work, 'store') })
  }
  const run: Programs['run'] = async (name, args, call) => {
    const ended = await start(name, args, call).ended
    if (ended.code === 0) return ended
    throw new Error(`${name} ${args.join(' ')} ended with ${ended.code}: ${ended.stderr}`)
  }
  let rootfs: string | undefined
  return {
    work,
    dist: compiled.dist,
    mark: work,
    start,
    run,
    importBusybox: call => {
      rootfs ??= busyboxRootfs(work)
      return run('tsbuild', ['import', rootfs, 'busybox:latest'], call)
    },
    [Symbol.dispose]: () => {
      rmSync(work, { recursive: true, force: true, maxRetries: 5 })
      compiled[Symbol.dispose]()
    },
  }
}

function startProcess(
  words: readonly string[],
  { work, store }: { readonly work: string; readonly store: string },
): Started {
  const [program = '', ...args] = words
  const { PATH } = process.env
  const begun = performance.now()
  const child = spawn(program, args, {
    cwd: work,
    env: { PATH, HOME: work, TSBUILD_ROOT: store },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const texts = { stdout: '', stderr: '' }
  child.stdout.on('data', chunk => {
    texts.stdout += chunk
  })
  child.stderr.on('data', chunk => {
    texts.stderr += chunk
  })
  // Not `close`: a process that was left behind may hold the pipes, and that is for a check to find.
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', code => {
      const milliseconds = performance.now() - begun
      setImmediate(() => resolve({ code, milliseconds, ...texts }))
    })
  })
  return { child, ended }
}
