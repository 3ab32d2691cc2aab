/** What a container can do to its monitor and to the caller's descriptors: nothing. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

describe.skipIf(missing !== undefined)(`a monitor${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let box: TsrunStore['box']
  let sh: TsrunStore['sh']
  let passing: string

  beforeAll(() => {
    made = makeTsrunStore(({ layer }) => {
      passing = join(layer, 'bin/pass-descriptor')
      const source = fileURLToPath(new URL('pass-descriptor.c', import.meta.url))
      execFileSync('cc', ['-static', '-O1', '-o', passing, source])
    })
    ;({ box, sh } = made)
  }, 60_000)

  afterAll(() => made[Symbol.dispose]())

  test.each([
    ['its output read by us', 'attached'],
    ['its output in a log', 'detached'],
  ])('ends with its container though the output was passed on: %s', async (_, mode) => {
    const shared = join(box.directory, mode)
    mkdirSync(shared)
    const keeper = spawn(passing, ['keep', join(shared, 'socket')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void keeper.kill('SIGKILL'))
    await once(keeper.stdout, 'data')
    const run = `-v ${shared}:/shared bb sh -c 'echo before; exec pass-descriptor give /shared/socket'`
    const detached = `tsrun -d --name passed ${run} > /dev/null; tsrun wait passed; tsrun logs passed`
    const { stdout, status } = sh(mode === 'detached' ? detached : `tsrun --rm ${run}`)
    expect([stdout, status]).toEqual([mode === 'detached' ? '0\nbefore\n' : 'before\n', 0])
    expect(keeper.exitCode).toBe(null)
  })

  test('leaves the container alone when its log may not grow', () => {
    // The limit is the user's; a file of our own that reaches it is no signal for the program.
    const { stdout } = sh(
      `(ulimit -S -f 128; tsrun -d --init --name full bb \\
          sh -c 'busybox yes | head -c 300000; busybox ulimit -f; sleep 1000' > /dev/null)
       sleep 0.5; tsrun ps --format '{{.State}}'; tsrun logs full | wc -c; tsrun rm -f full`,
    )
    expect(stdout).toMatch(/^running\n\d{4,5}\nfull\n$/)
  })

  test('gives away the pipes that it made, and no file of the caller', () => {
    const fifo = join(box.directory, 'fifo')
    execFileSync('mkfifo', [fifo])
    chmodSync(fifo, 0o622)
    const { stdout } = sh(`cat ${fifo} & tsrun --rm -u 1234 bb echo through > ${fifo}; wait`)
    expect(stdout).toBe('through\n')
    expect(statSync(fifo).uid).toBe(0)
    const anonymous = sh(`tsrun --rm -u 1234 bb sh -c 'echo again > /dev/stdout' | cat`)
    expect(anonymous.stdout).toBe('again\n')
  })
})
