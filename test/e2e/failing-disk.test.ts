/**
 * A disk that fails at any one write, or is full from there on: the command works or says why, the
 * store is whole, and the same command works when the disk does.
 *
 * `FAILING_DISK_POINTS=N` fails each command at N places, CI at a few.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { type Random, seededRandom } from './kill/moments.ts'
import type { Finished } from './process.ts'
import { openWorkspace, type Registry, type Store, type Workspace } from './workspace.ts'

const source = fileURLToPath(new URL('../support/failing-disk.c', import.meta.url))
const points = Number(process.env['FAILING_DISK_POINTS'] ?? 1)
const { EIO, ENOSPC } = constants.errno

/** A bad block, and a full disk: once, and from then on. */
const faults = [
  { name: 'EIO', errno: EIO, duration: 'once', says: /EIO|i\/o error|input\/output error/i },
  { name: 'ENOSPC', errno: ENOSPC, duration: 'ever', says: /ENOSPC|no space left/i },
] as const

interface Command {
  readonly title: string
  readonly program: 'tsbuild' | 'tsrun'
  /** What it says when it had done its work before it failed. */
  readonly mayBeDone?: RegExp
  readonly args: (place: { readonly context: string; readonly registry: string }) => string[]
}

const commands: readonly Command[] = [
  {
    title: 'a build',
    program: 'tsbuild',
    args: ({ context }) => ['--no-cache', '-t', 'built', context],
  },
  {
    title: 'a build of an archive',
    program: 'tsbuild',
    args: ({ context }) => ['--no-cache', '-o', `type=oci,dest=${context}.tar`, context],
  },
  { title: 'a pull', program: 'tsrun', args: ({ registry }) => ['pull', `${registry}/lib:x`] },
  { title: 'a container', program: 'tsrun', args: () => ['--rm', 'busybox', 'touch', '/f'] },
  { title: 'a kept container', program: 'tsrun', args: () => ['busybox', 'touch', '/f'] },
  { title: 'a tag', program: 'tsbuild', args: () => ['tag', 'busybox', 'other:name'] },
  {
    title: 'a removal',
    program: 'tsrun',
    args: () => ['rmi', 'busybox'],
    mayBeDone: /Cannot find image "busybox"/,
  },
  { title: 'a collection', program: 'tsrun', args: () => ['gc', '-f'] },
]

describeWith(['root', 'build', 'busybox'], 'a disk that fails', () => {
  let workspace: Workspace
  let registry: Registry
  let full: Store
  let context: string

  beforeAll(async () => {
    workspace = openWorkspace('failing-disk')
    const library = workspace.path('failing.so')
    execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl'])
    registry = await workspace.serve()
    full = await workspace.storeWithBusybox('full')
    context = workspace.write('context', {
      Dockerfile: 'FROM busybox\nCOPY files /files\nRUN mkdir /d && echo ran > /d/f\n',
      'files/a': 'a',
      'files/b/c': 'c'.repeat(100_000),
    })
    await full.tsbuild(['-t', `${registry.address}/lib:x`, '--push', context])
    await full.tsrun(['rmi', `${registry.address}/lib:x`])
    await full.tsrun(['gc', '-f'])
  })

  afterAll(() => workspace.close())

  /** As it was before the first command. */
  function copyOfStore(): Store {
    const copy = workspace.store('copy')
    rmSync(copy.root, { recursive: true, force: true })
    execFileSync('cp', ['-a', full.root, copy.root])
    return copy
  }

  interface Fault {
    readonly at: number
    readonly errno: number
    readonly duration: 'once' | 'ever'
  }

  async function attempt(store: Store, command: Command, fault: Fault): Promise<Finished> {
    const args = command.args({ context, registry: registry.address })
    return store.attempt(command.program, args, {
      env: {
        LD_PRELOAD: workspace.path('failing.so'),
        FAILING_DISK: store.root,
        FAILING_DISK_AT: String(fault.at),
        FAILING_DISK_ERROR: String(fault.errno),
        FAILING_DISK_FOR: fault.duration,
        FAILING_DISK_COUNT: workspace.path('count'),
      },
    })
  }

  async function callsOf(command: Command): Promise<number> {
    const { code, stderr } = await attempt(copyOfStore(), command, {
      at: 0,
      errno: 0,
      duration: 'once',
    })
    expect([code, stderr]).toEqual([0, expect.any(String)])
    return Number(readFileSync(workspace.path('count'), 'utf8'))
  }

  /** Some of the calls, or all when there are no more. */
  function placesAmong(calls: number, random: Random): number[] {
    if (points >= calls) return Array.from({ length: calls }, (_, i) => i + 1)
    return Array.from({ length: points }, () => 1 + Math.floor(random() * calls))
  }

  it.each(commands)('$title works or says why, and works when the disk does', async command => {
    const calls = await callsOf(command)
    expect(calls).toBeGreaterThan(0)
    const random = seededRandom(`failing-disk, ${command.title}`)
    for (const at of placesAmong(calls, random)) {
      const chosen = points > 1 ? faults : [faults[random() < 0.5 ? 0 : 1]]
      for (const fault of chosen) await failOnce(command, { ...fault, at })
    }
  })

  async function failOnce(command: Command, fault: Fault & (typeof faults)[number]): Promise<void> {
    const store = copyOfStore()
    const where = `${fault.name} at ${fault.at}`
    const { code, stderr } = await attempt(store, command, fault)
    if (code !== 0) expect(stderr, where).toMatch(fault.says)
    expect(stderr, where).not.toMatch(/internal error|SuppressedError|\n\s+at /)
    const check = await store.attempt('tsrun', ['fsck'])
    expect([check.code, check.stdout, where]).toEqual([0, expect.any(String), where])
    const args = command.args({ context, registry: registry.address })
    const again = await store.attempt(command.program, args)
    if (again.code !== 0) expect(again.stderr, where).toMatch(command.mayBeDone ?? /never/)
  }

  it('is told apart from one that works: the fault is met', async () => {
    const { code, stderr } = await attempt(copyOfStore(), commands[0] as Command, {
      at: 1,
      errno: EIO,
      duration: 'ever',
    })
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/EIO|[Ii]nput\/output error/)
  })
})
