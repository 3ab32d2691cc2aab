import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { openEarlySandboxes } from '../../src/layerfs/sandbox/early-sandboxes.ts'
import { openSpawner } from '../../src/layerfs/sandbox/spawner.ts'
import { type Box, makeBox, missing, run } from './box.ts'

/** Of this process. */
function spawners(): number[] {
  return childrenOf(process.pid).filter(pid => commandOf(pid).endsWith('\0spawner\0'))
}

/** Not yet buried. */
function monitors(): number[] {
  return spawners().flatMap(childrenOf)
}

/** Number 0 would be all of us. */
function missingSpawner(): never {
  throw new Error('No spawner runs')
}

/** Of sandboxes of this process that began early. */
function earlyCgroups(): string[] {
  const { v1, v2 } = cgroupHierarchies()
  return [v2 ?? [], Object.values(v1)]
    .flat()
    .map(mount => join(mount, 'tsbuild'))
    .filter(existsSync)
    .flatMap(parent => readdirSync(parent))
    .filter(name => name.startsWith('early-') && name.includes(`.${process.pid}.`))
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => new RegExp(`^PPid:\\t${parent}$`, 'm').test(readProc(pid, 'status')))
}

function commandOf(pid: number): string {
  return readProc(pid, 'cmdline')
}

function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1')
  } catch {
    return ''
  }
}

describe.skipIf(missing !== undefined)(`a spawner${missing ? ` (${missing})` : ''}`, () => {
  let box: Box
  beforeAll(() => {
    box = makeBox()
  })
  afterAll(() => box[Symbol.dispose]())

  test('one process starts all of them, also at once, and ends when it is disposed', async () => {
    {
      using spawner = openSpawner()
      const root = { kind: 'overlay', lower: [box.layer] } as const
      const scripts = ['echo out; echo err >&2; exit 3', 'cat; echo "$$"', 'exit 7']
      const ended = await Promise.all(
        scripts.map(script => run(box, script, { root, io: { spawner } })),
      )
      expect(ended[0]).toMatchObject({ code: 3, stdout: 'out\n', stderr: 'err\n' })
      expect(ended[1]).toMatchObject({ code: 0, stdout: '1\n' })
      expect(ended[2]).toMatchObject({ code: 7 })
      expect(spawners()).toHaveLength(1)
      await expect.poll(() => monitors()).toEqual([])
    }
    await expect.poll(spawners).toEqual([])
  })

  test('the program has descriptors 0 to 2 alone, and a group of its own', async () => {
    using spawner = openSpawner()
    const script = 'echo $(ls /proc/self/fd) $(cut -d" " -f5 /proc/self/stat)'
    const { stdout } = await run(box, script, { io: { spawner } })
    // The last of them is that of `ls`.
    expect(stdout).toBe('0 1 2 3 1\n')
  })

  test('one that is killed does not end what it started, and the next start makes another', async () => {
    using spawner = openSpawner()
    const slow = run(box, 'echo begun; sleep 0.3; echo ended', { io: { spawner } })
    while (monitors().length === 0) await sleep(5)
    const [first = missingSpawner()] = spawners()
    process.kill(first, 'SIGKILL')
    await expect.poll(spawners).toEqual([])
    expect(await slow).toMatchObject({ code: 0, stdout: 'begun\nended\n' })
    expect(await run(box, 'echo again', { io: { spawner } })).toMatchObject({ stdout: 'again\n' })
    expect(spawners()).not.toEqual([first])
  })

  test('an abort ends the program; a start that fails says why', async () => {
    using spawner = openSpawner()
    const signal = AbortSignal.timeout(100)
    const endless = run(box, 'while :; do sleep 1; done', { io: { spawner, signal } })
    await expect(endless).rejects.toThrow('timeout')
    const missingProgram = run(box, '', { argv: ['/no/such/program'], io: { spawner } })
    await expect(missingProgram).rejects.toThrow('/no/such/program')
  })

  test('a sandbox that begins early runs what comes later, on its root, as any other', async () => {
    using spawner = openSpawner()
    await using early = openEarlySandboxes(spawner)
    const io = { spawner, early, isFollowed: true }
    const root = { kind: 'overlay', lower: [box.layer] } as const
    expect(await run(box, 'echo one', { root, io })).toMatchObject({ stdout: 'one\n' })
    await expect.poll(() => monitors().length).toBe(1)
    const [waiting] = monitors()
    const script = 'echo two $$; ls /; cat /proc/sys/kernel/hostname; exit 3'
    const second = await run(box, script, { root, io: { spawner, early }, hostname: 'box' })
    expect(second).toMatchObject({ code: 3, stdout: expect.stringMatching(/^two 1\n/) })
    await expect.poll(monitors).not.toContain(waiting)
    expect(await run(box, script, { root, io: { spawner } })).toEqual(second)
  })

  test('one of another frame, or that was killed, is no step’s; what is wrong with a program is said', async () => {
    using spawner = openSpawner()
    await using early = openEarlySandboxes(spawner)
    const io = { spawner, early, isFollowed: true }
    await run(box, ':', { io })
    const other = await run(box, 'cat /proc/sys/kernel/hostname', { io, hostname: 'other' })
    expect(other.stdout).toBe('other\n')
    await expect.poll(() => monitors().length).toBe(1)
    for (const pid of monitors()) process.kill(pid, 'SIGKILL')
    await expect.poll(monitors).toEqual([])
    // The kernel kills its first process then, and we hear of that.
    await sleep(200)
    const again = { io, hostname: 'other' }
    expect(await run(box, 'echo here', again)).toMatchObject({ code: 0, stdout: 'here\n' })
    const missingProgram = run(box, '', { argv: ['/no/such/program'], ...again })
    await expect(missingProgram).rejects.toThrow('/no/such/program')
  })

  test('one that nobody takes ends: soon, with those who began it, and with their process', async () => {
    using spawner = openSpawner()
    {
      await using early = openEarlySandboxes(spawner)
      const io = { spawner, early, isFollowed: true }
      const signal = AbortSignal.timeout(100)
      const endless = run(box, 'while :; do sleep 1; done', { io: { ...io, signal } })
      await expect(endless).rejects.toThrow('timeout')
      expect(monitors()).toHaveLength(1)
      await expect.poll(monitors).toEqual([])
      await run(box, ':', { io })
    }
    expect(monitors()).toEqual([])
    expect(earlyCgroups()).toEqual([])
  })

  test('`kill` ends a monitor that does not answer', async () => {
    using spawner = openSpawner()
    const monitor = await spawner.start()
    const records: Buffer[] = []
    monitor.reports.on('data', chunk => records.push(chunk))
    await expect.poll(() => Buffer.concat(records).toString('latin1')).toMatch(/monitor\0\d+$/)
    const pid = Number(/\0(\d+)$/.exec(Buffer.concat(records).toString('latin1'))?.[1])
    monitor.isNumbered?.(pid)
    monitor.output?.stdout.resume()
    monitor.output?.stderr.resume()
    expect(monitors()).toEqual([pid])
    monitor.kill()
    await monitor.closed
    await expect.poll(() => monitors()).toEqual([])
    // Its number is nobody's now.
    monitor.kill()
  })
})
