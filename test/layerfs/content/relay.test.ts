import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import {
  descriptorOf,
  type RelayLimits,
  relay,
  sendFile,
} from '../../../src/layerfs/content/relay.ts'
import { connection } from './connection.ts'

interface Rig extends AsyncDisposable {
  readonly source: Socket
  readonly target: Socket
  readonly stop: AbortController
  run(count: number, limits?: Partial<RelayLimits>): ReturnType<typeof relay>
}

async function rig(): Promise<Rig> {
  const [from, to] = [await connection(), await connection()]
  const stop = new AbortController()
  return {
    source: from.far,
    target: to.far,
    stop,
    run: (count, limits = {}) =>
      relay([descriptorOf(from.near) ?? -1, descriptorOf(to.near) ?? -1], count, {
        sourceIdleMs: 60_000,
        targetPace: { bytes: 1, everyMs: 60_000 },
        signal: stop.signal,
        ...limits,
      }),
    [Symbol.asyncDispose]: async () => {
      for (const socket of [from.near, from.far, to.near, to.far]) socket.destroy()
    },
  }
}

async function read(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  while (size < count) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    chunks.push(chunk)
    size += chunk.length
  }
  return Buffer.concat(chunks)
}

describe('relay()', () => {
  it('sends so many bytes and leaves those behind them where they are', async () => {
    await using one = await rig()
    const bytes = randomBytes(3_000_001)
    const received = read(one.target, bytes.length)
    one.source.write(bytes)
    one.source.write('next')
    expect(await one.run(bytes.length)).toEqual({ end: 'all sent', sent: bytes.length })
    expect((await received).equals(bytes)).toBe(true)
    const rest = read(one.target, 4)
    expect(await one.run(4)).toEqual({ end: 'all sent', sent: 4 })
    expect((await rest).toString()).toBe('next')
  })

  it('sends nothing when there is nothing to send', async () => {
    await using one = await rig()
    expect(await one.run(0)).toEqual({ end: 'all sent', sent: 0 })
  })

  it('keeps many apart', async () => {
    const rigs = await Promise.all(Array.from({ length: 40 }, rig))
    const checks = rigs.map(async (one, i) => {
      const bytes = randomBytes(200_000 + i)
      const received = read(one.target, bytes.length)
      const relayed = one.run(bytes.length)
      one.source.write(bytes.subarray(0, 1000 * i))
      await sleep(i)
      one.source.write(bytes.subarray(1000 * i))
      expect(await relayed).toEqual({ end: 'all sent', sent: bytes.length })
      expect((await received).equals(bytes)).toBe(true)
    })
    await Promise.all(checks)
    for (const one of rigs) await one[Symbol.asyncDispose]()
  })

  it('of a source that breaks off sends all that came, and says how much', async () => {
    await using one = await rig()
    const received = read(one.target, 100_000)
    one.source.end(Buffer.alloc(100_000, 'x'))
    expect(await one.run(1_000_000)).toEqual({ end: 'source broke', sent: 100_000 })
    expect(await received).toHaveLength(100_000)
  })

  it('ends when the target goes away', async () => {
    await using one = await rig()
    one.source.write(Buffer.alloc(20_000_000))
    const relayed = one.run(20_000_000)
    one.target.once('data', () => one.target.resetAndDestroy())
    expect(await relayed).toMatchObject({ end: 'target broke' })
  })

  it('stops when it is told to', async () => {
    await using one = await rig()
    one.source.write('some')
    const relayed = one.run(1000)
    expect((await read(one.target, 4)).toString()).toBe('some')
    one.stop.abort()
    expect(await relayed).toEqual({ end: 'stopped', sent: 4 })
    await expect(one.run(1000)).rejects.toThrow(/abort/)
  })

  it('gives up a source that stands still, not one that waits for its target', async () => {
    await using still = await rig()
    still.source.write('some')
    const limits = { sourceIdleMs: 50 }
    expect(await still.run(1000, limits)).toEqual({ end: 'source broke', sent: 4 })
    await using slow = await rig()
    slow.target.pause()
    slow.source.write(Buffer.alloc(20_000_000))
    const relayed = slow.run(20_000_000, limits)
    await sleep(300)
    const received = read(slow.target.resume(), 20_000_000)
    expect(await relayed).toEqual({ end: 'all sent', sent: 20_000_000 })
    expect(await received).toHaveLength(20_000_000)
  })

  it('gives up a target that takes nothing, not one that waits for the source', async () => {
    const limits = { targetPace: { bytes: 1000, everyMs: 50 } }
    await using full = await rig()
    full.target.pause()
    full.source.write(Buffer.alloc(20_000_000))
    expect(await full.run(20_000_000, limits)).toMatchObject({ end: 'target broke' })
    await using waiting = await rig()
    const relayed = waiting.run(4, limits)
    await sleep(300)
    waiting.source.write('late')
    expect(await relayed).toEqual({ end: 'all sent', sent: 4 })
  })

  it('gives up a target that takes nothing of a file', async () => {
    const { near, far } = await connection()
    const file = await open('/proc/self/exe')
    try {
      far.pause()
      const limits = {
        targetPace: { bytes: 1000, everyMs: 50 },
        signal: new AbortController().signal,
      }
      const from = { from: file.fd, start: 0, end: 20_000_000 }
      expect(await sendFile(from, descriptorOf(near) ?? -1, limits)).toMatchObject({
        end: 'target broke',
      })
    } finally {
      await file.close()
      near.destroy()
      far.destroy()
    }
  })

  it('refuses descriptors that are none', async () => {
    const { signal } = new AbortController()
    const limits = { sourceIdleMs: 1, targetPace: { bytes: 1, everyMs: 1 }, signal }
    await expect(relay([-1, -1], 5, limits)).rejects.toMatchObject({ code: 'EBADF' })
  })

  it('has no descriptor of a connection that is encrypted, or closed', async () => {
    const { near, far } = await connection()
    const encrypted = new TLSSocket(far)
    encrypted.on('error', () => {})
    expect(descriptorOf(encrypted)).toBeUndefined()
    expect(descriptorOf(near)).toBeGreaterThan(0)
    near.destroy()
    encrypted.destroy()
    await once(near, 'close')
    expect(descriptorOf(near)).toBeUndefined()
  })
})
