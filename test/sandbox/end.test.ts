import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { type Box, makeBox, missing, run, specFor } from './box.ts'

/** Processes whose command line has `mark`; it is passed as an argument of the program. */
function processesWith(mark: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(pid => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark)
      } catch {
        return false
      }
    })
    .map(Number)
}

async function until(condition: () => boolean): Promise<boolean> {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (condition()) return true
    await sleep(10)
  }
  return false
}

/** Starts others that ignore what can be ignored, in sessions of their own. */
const stubborn = (mark: string) => [
  'sh',
  '-c',
  `trap "" TERM INT HUP
   for i in 1 2; do setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' "$0" & done
   echo up
   while :; do sleep 1000; done`,
  mark,
]

describe.skipIf(missing !== undefined)('aborting', () => {
  test('ends every process, then rejects with the reason', async () => {
    using box = makeBox()
    const mark = `abort-${process.pid}-${Date.now()}`
    const controller = new AbortController()
    const reason = new Error('enough')
    const output = () => controller.abort(reason)
    const running = run(box, '', {
      argv: stubborn(mark),
      io: { signal: controller.signal, output },
    })
    await expect(running).rejects.toBe(reason)
    expect(processesWith(mark)).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.directory)
  })

  test('before the start runs nothing', async () => {
    using box = makeBox()
    const signal = AbortSignal.abort(new Error('early'))
    await expect(run(box, 'echo a > /a', { io: { signal } })).rejects.toThrow('early')
    expect(readdirSync(box.upper)).toEqual([])
  })

  test('at any moment of the set-up leaves nothing', async () => {
    using box = makeBox()
    const mark = `moment-${process.pid}-${Date.now()}`
    for (let delay = 0; delay < 12; delay++) {
      const controller = new AbortController()
      setTimeout(() => controller.abort(new Error('now')), delay / 2)
      await run(box, '', {
        argv: stubborn(mark),
        io: { signal: controller.signal },
      }).catch(() => {})
      expect(processesWith(mark)).toEqual([])
    }
  })
})

describe.skipIf(missing !== undefined)('kill -9', () => {
  let compiled: Compiled
  beforeAll(() => {
    compiled = compileSources()
  }, 60_000)
  afterAll(() => compiled[Symbol.dispose]())

  /** A Node process that runs a sandbox; it prints the monitor's and the first process's number. */
  function startParent(box: Box, mark: string): ChildProcess {
    const script = join(box.directory, 'parent.mjs')
    const spec = specFor(box, { argv: stubborn(mark), limits: { pids: 50 } })
    writeFileSync(
      script,
      `import { runSandbox } from ${JSON.stringify(join(compiled.dist, 'layerfs/sandbox/run.js'))}
       await runSandbox(${JSON.stringify(spec)}, {
         stdin: 'null', stubs: ${JSON.stringify(box.stubs)}, id: ${JSON.stringify(mark)},
         output: (stream, chunk) => process.stdout.write(chunk),
       })`,
    )
    return spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  async function started(parent: ChildProcess): Promise<void> {
    await new Promise(resolve => parent.stdout?.once('data', resolve))
  }

  const cgroups = (mark: string) =>
    ['/sys/fs/cgroup/pids/tsbuild', '/sys/fs/cgroup/tsbuild'].flatMap(parent =>
      existsSync(parent) ? readdirSync(parent).filter(name => name.startsWith(mark)) : [],
    )

  test('of the Node process ends monitor and container, and the next run removes its cgroup', async () => {
    using box = makeBox()
    const mark = `node-${process.pid}-${Date.now()}`
    const parent = startParent(box, mark)
    await started(parent)
    onTestFinished(() => void parent.kill('SIGKILL'))
    expect(processesWith(mark).length).toBeGreaterThan(1)
    expect(cgroups(mark).length).toBe(1)
    const ended = once(parent, 'exit')
    parent.kill('SIGKILL')
    await ended
    expect(await until(() => processesWith(mark).length === 0)).toBe(true)
    expect(await until(() => monitorsOf(box).length === 0)).toBe(true)
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(box.directory)
    // The kernel may still be about to forget its last process: then it is for the run after.
    for (let attempt = 0; attempt < 20 && cgroups(mark).length > 0; attempt++) {
      await run(box, 'sleep 0.1', { limits: { pids: 10 } })
    }
    expect(cgroups(mark)).toEqual([])
  })

  test('of the monitor ends the container, and the run says so', async () => {
    using box = makeBox()
    const mark = `monitor-${process.pid}-${Date.now()}`
    const output = () => {
      for (const pid of monitorsOf(box)) process.kill(pid, 'SIGKILL')
    }
    await expect(run(box, '', { argv: stubborn(mark), io: { output } })).rejects.toThrow(
      'its monitor was killed',
    )
    expect(processesWith(mark)).toEqual([])
  })

  test('of the monitor of a set-id program, which outlives its parent by the kernel’s rules', async () => {
    using box = makeBox()
    const mark = `setid-${process.pid}-${Date.now()}`
    box.write('bin/busybox-setid', readFileSync('/bin/busybox'), 0o4755)
    const seen: string[] = []
    const output = (_: string, chunk: Uint8Array) => {
      seen.push(Buffer.from(chunk).toString())
      for (const pid of monitorsOf(box)) process.kill(pid, 'SIGKILL')
    }
    const user = { uid: 1000, gid: 1000, groups: [] }
    const [, ...rest] = stubborn(mark)
    const argv = ['busybox-setid', 'sh', ...rest]
    await expect(run(box, '', { argv, user, io: { output } })).rejects.toThrow('was killed')
    expect(seen).toEqual(['up\n'])
    expect(processesWith(mark)).toEqual([])
  })

  test('of a first process with another user, too', async () => {
    using box = makeBox()
    const mark = `user-${process.pid}-${Date.now()}`
    const output = () => {
      for (const pid of monitorsOf(box)) process.kill(pid, 'SIGKILL')
    }
    const user = { uid: 1000, gid: 1000, groups: [] }
    await expect(run(box, '', { argv: stubborn(mark), user, io: { output } })).rejects.toThrow()
    expect(await until(() => processesWith(mark).length === 0)).toBe(true)
  })

  /** Monitors in whose memory the box's path stands: the program has no arguments. */
  function monitorsOf(box: Box): number[] {
    return readdirSync('/proc')
      .filter(name => /^\d+$/.test(name))
      .map(Number)
      .filter(pid => {
        try {
          const isMonitor = readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sandbox\n'
          const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
          return isMonitor && (Number(parent) === process.pid || isOrphanOf(box, Number(parent)))
        } catch {
          return false
        }
      })
  }

  function isOrphanOf(box: Box, parent: number): boolean {
    if (!existsSync(`/proc/${parent}/cmdline`)) return false
    return readFileSync(`/proc/${parent}/cmdline`, 'utf8').includes(box.directory)
  }
})

describe.skipIf(missing !== undefined)('limits', () => {
  test('memory: a program that takes more is killed, and the end says why', async () => {
    using box = makeBox()
    const limits = { memory: 16 * 1024 * 1024 }
    const script = 'dd if=/dev/zero of=/dev/null bs=64M count=1'
    expect(await run(box, `exec ${script}`, { limits })).toMatchObject({
      code: 137,
      signal: 9,
      outOfMemory: true,
    })
    expect(await run(box, 'true', { limits })).toMatchObject({ code: 0, outOfMemory: false })
  })

  test('memory: a kill -9 of somebody else is not for want of memory', async () => {
    using box = makeBox()
    const limits = { memory: 16 * 1024 * 1024 }
    const io = { onStarted: (handle: { kill(signal: number): void }) => handle.kill(9) }
    expect(await run(box, 'sleep 100', { limits, io })).toMatchObject({
      code: 137,
      outOfMemory: false,
    })
  })

  test('pids: no more processes than that', async () => {
    using box = makeBox()
    const script = 'for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait'
    const { stderr } = await run(box, script, { limits: { pids: 5 } })
    expect(stderr).toMatch(/can't fork/)
  })

  test('cpus: a busy loop gets no more than its share', async () => {
    using box = makeBox()
    const script =
      'end=$(($(cut -d. -f1 /proc/uptime) + 2)); while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do :; done; cat /proc/self/stat; cat /proc/1/stat'
    const before = Date.now()
    const { stdout } = await run(box, script, { limits: { cpus: 0.2 } })
    const seconds = (Date.now() - before) / 1000
    const [, , , , , , , , , , , , , user = '0', system = '0', , ...rest] =
      stdout.split('\n')[1]?.split(' ') ?? []
    expect(rest.length).toBeGreaterThan(0)
    expect((Number(user) + Number(system)) / 100).toBeLessThan(seconds * 0.3)
  })

  test('are one cgroup for the container only: nothing is left after, and nothing made without', async () => {
    using box = makeBox()
    const id = `left-${process.pid}`
    const limits = { memory: 64 * 1024 * 1024, cpus: 1, pids: 20 }
    const { stdout } = await run(box, 'cat /proc/self/cgroup', { limits, io: { id } })
    expect(stdout).not.toContain(id)
    for (const root of ['', 'memory', 'cpu', 'pids']) {
      const parent = join('/sys/fs/cgroup', root, 'tsbuild')
      const names = existsSync(parent) ? readdirSync(parent) : []
      expect(names.filter(name => name.startsWith(id))).toEqual([])
    }
  })
})
