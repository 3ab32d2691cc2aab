import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openSpawner } from '../../src/layerfs/sandbox/spawner.ts'
import { type Box, makeBox, missing, run } from './box.ts'

/** Of this process. */
function spawners(): number[] {
  return childrenOf(process.pid).filter(pid => commandOf(pid).endsWith('\0spawner\0'))
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
      await expect.poll(() => childrenOf(spawners()[0] ?? 0)).toEqual([])
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
    while (childrenOf(spawners()[0] ?? 0).length === 0) await sleep(5)
    const [first = 0] = spawners()
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
    expect(childrenOf(spawners()[0] ?? 0)).toEqual([pid])
    monitor.kill()
    await monitor.closed
    await expect.poll(() => childrenOf(spawners()[0] ?? 0)).toEqual([])
    // Its number is nobody's now.
    monitor.kill()
  })
})
