import { describe, expect, it } from 'vitest'
import { whileArriving } from '../../../src/layerfs/content/while-arriving.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const [one, two] = [digestOf(Buffer.from('1')), digestOf(Buffer.from('2'))] as const

/** Ends as everything does that is told to stop. */
const untilStopped = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
  })

describe('whileArriving()', () => {
  it('lets the work wait for one blob while another is missing', async () => {
    const order: string[] = []
    const result = await whileArriving({
      coming: [one, two],
      bring: async onBlob => {
        onBlob(two)
        await new Promise(resolve => setTimeout(resolve, 20))
        order.push('one comes')
        onBlob(one)
      },
      use: async (arrived, signal) => {
        await arrived(two, signal)
        order.push('two is used')
        await arrived(one, signal)
        order.push('one is used')
        return 'used'
      },
    })
    expect(result).toBe('used')
    expect(order).toEqual(['two is used', 'one comes', 'one is used'])
  })

  it('waits for nothing that is not on its way, or that nobody told of in the end', async () => {
    const use = whileArriving({
      coming: [one],
      bring: async () => {},
      use: async (arrived, signal) => {
        await arrived(two, signal)
        await arrived(one, signal)
        return 'done'
      },
    })
    expect(await use).toBe('done')
  })

  it('throws what stopped the arrivals, once the work that waits has ended', async () => {
    const failure = new Error('the line is cut')
    let seen: unknown
    const both = whileArriving({
      coming: [one],
      bring: async () => {
        throw failure
      },
      use: async (arrived, signal) => {
        await arrived(one, signal).catch((error: unknown) => {
          seen = error
          throw error
        })
      },
    })
    await expect(both).rejects.toBe(failure)
    expect(seen).toBe(failure)
  })

  it('throws what stopped the work, once the arrivals have ended', async () => {
    const failure = new Error('the disk is full')
    let hasEnded = false
    const both = whileArriving({
      coming: [one],
      bring: (_, signal) =>
        untilStopped(signal).finally(() => {
          hasEnded = true
        }),
      use: async () => {
        throw failure
      },
    })
    await expect(both).rejects.toBe(failure)
    expect(hasEnded).toBe(true)
  })

  it('throws the reason of its signal when that stops both', async () => {
    const stop = new AbortController()
    const both = whileArriving({
      coming: [one],
      bring: (_, signal) => untilStopped(signal),
      use: (arrived, signal) => arrived(one, signal),
      signal: stop.signal,
    })
    stop.abort(new Error('interrupted'))
    await expect(both).rejects.toThrow('interrupted')
  })
})
