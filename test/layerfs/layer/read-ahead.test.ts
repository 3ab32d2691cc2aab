import { describe, expect, it } from 'vitest'
import { type ReadAhead, withReadAhead } from '../../../src/layerfs/layer/read-ahead.ts'

const large = { fd: 0, size: 1e9, encoding: 'none' } as const

async function readAll(ahead: ReadAhead | undefined): Promise<void> {
  if (ahead === undefined) throw new Error('Expected a helper')
  for (const _ of ahead.chunks);
}

const deaths = { exit: 'process.exit(7)', throw: 'throw new Error("no memory left")' }

/** Stands in for the thread that reads ahead. */
function dying(when: 'start' | 'job', how: keyof typeof deaths): URL {
  const whole = `
    import { readlinkSync } from 'node:fs'
    import { parentPort } from 'node:worker_threads'
    parentPort.on('message', () => { ${deaths[how]} })
    parentPort.postMessage(readlinkSync('/proc/thread-self'))`
  const source = when === 'start' ? deaths[how] : whole
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`)
}

describe('a thread that reads ahead and dies', () => {
  it.each([
    ['start', 'exit', 'exit code 7'],
    ['start', 'throw', 'no memory left'],
    ['job', 'exit', 'exit code 7'],
    ['job', 'throw', 'no memory left'],
  ] as const)('at its %s, by %s, leaves nobody waiting', async (when, how, reason) => {
    const reading = withReadAhead(large, readAll, dying(when, how))
    await expect(reading).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(reason),
    })
  })

  it('is followed by another for the next layer', async () => {
    for (let layer = 0; layer < 2; layer++) {
      const reading = withReadAhead(large, readAll, dying('job', 'exit'))
      await expect(reading).rejects.toMatchObject({ code: 'unavailable' })
    }
  })
})
