import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { type ReceiveLimits, receive } from '../../../src/layerfs/content/receive.ts'
import { descriptorOf } from '../../../src/layerfs/content/relay.ts'
import { openThreadHash } from '../../../src/layerfs/content/thread-hash.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { connection } from './connection.ts'
import { readBlob } from './content-store.contract.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)

interface Line extends AsyncDisposable {
  /** Ours to write to. */
  readonly far: Socket
  /** Of the other end, which Node does not read. */
  readonly descriptor: number
}

async function openLine(): Promise<Line> {
  const { near, far } = await connection()
  const close = async () => {
    for (const socket of [near, far]) socket.destroy()
  }
  return { far, descriptor: descriptorOf(near) ?? -1, [Symbol.asyncDispose]: close }
}

interface Rig extends Line {
  readonly path: string
  readonly file: FileHandle
  run(count: number, limits?: Partial<ReceiveLimits>): ReturnType<typeof receive>
  /** What the hash has seen. */
  digest(): string
}

async function openRig(path = join(freshDirectory(), 'file')): Promise<Rig> {
  const line = await openLine()
  const file = await open(path, 'a')
  const hash = openThreadHash('sha256')
  if (hash === undefined) throw new Error('This Node shows no OpenSSL')
  const into = { file: file.fd, hash: hash.handle }
  return {
    ...line,
    path,
    file,
    run: (count, limits = {}) =>
      receive(line.descriptor, count, { idleMs: 60_000, ...into, ...limits }),
    digest: () => hash.digest('hex'),
    [Symbol.asyncDispose]: async () => {
      await line[Symbol.asyncDispose]()
      await file.close()
    },
  }
}

const hexOfAll = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('receive()', () => {
  it('writes and hashes so many bytes, and leaves those behind them where they are', async () => {
    await using rig = await openRig()
    const bytes = randomBytes(3_000_001)
    rig.far.write(bytes)
    rig.far.write('next')
    expect(await rig.run(bytes.length)).toEqual({ end: 'all received', received: bytes.length })
    expect(readFileSync(rig.path).equals(bytes)).toBe(true)
    expect(rig.digest()).toBe(hexOfAll(bytes))
    expect(await rig.run(4)).toEqual({ end: 'all received', received: 4 })
    expect(readFileSync(rig.path, 'latin1').slice(-4)).toBe('next')
  })

  it('says how many came before the connection was closed', async () => {
    await using rig = await openRig()
    const bytes = randomBytes(400_000)
    rig.far.end(bytes)
    expect(await rig.run(400_001)).toEqual({ end: 'source broke', received: 400_000 })
    expect(rig.digest()).toBe(hexOfAll(readFileSync(rig.path)))
  })

  it('says that the connection was reset', async () => {
    await using rig = await openRig()
    const running = rig.run(100)
    rig.far.write('abc', () => rig.far.resetAndDestroy())
    const { end, received, error } = await running
    expect([end, (error as NodeJS.ErrnoException).code]).toEqual(['source broke', 'ECONNRESET'])
    expect(readFileSync(rig.path).length).toBe(received)
  })

  it('waits no longer than told for bytes', async () => {
    await using rig = await openRig()
    await new Promise(resolve => rig.far.write('abc', resolve))
    expect(await rig.run(100, { idleMs: 50 })).toEqual({ end: 'source silent', received: 3 })
    expect(rig.digest()).toBe(hexOfAll(Buffer.from('abc')))
  })

  it('is stopped by the signal, while it waits and before it begins', async () => {
    await using rig = await openRig()
    const stop = new AbortController()
    const running = rig.run(100, { signal: stop.signal, onProgress: () => stop.abort() })
    expect(await running).toEqual({ end: 'stopped', received: 0 })
    await expect(rig.run(100, { signal: stop.signal })).rejects.toBe(stop.signal.reason)
    rig.far.write('still there')
    expect(await rig.run(11)).toEqual({ end: 'all received', received: 11 })
  })

  it('tells how much there is while it goes on', async () => {
    await using rig = await openRig()
    const told: number[] = []
    rig.far.write('abc')
    const onProgress = (count: number) => {
      told.push(count)
      if (count === 3) rig.far.write('defg')
    }
    expect(await rig.run(7, { onProgress })).toMatchObject({ received: 7 })
    expect(told.at(-1)).toBe(3)
  })

  it('says what the file refused', async () => {
    await using rig = await openRig('/dev/full')
    rig.far.write('abc')
    const { end, received, error } = await rig.run(3)
    expect([end, received]).toEqual(['file failed', 0])
    expect(error).toMatchObject({ code: 'ENOSPC', syscall: 'write' })
  })

  it('has the hash for itself', async () => {
    await using rig = await openRig()
    const running = rig.run(1)
    expect(() => rig.digest()).toThrow('it is being updated')
    await expect(rig.run(1)).rejects.toMatchObject({ cause: { message: /being updated/ } })
    rig.far.write('x')
    expect(await running).toMatchObject({ end: 'all received' })
    expect(rig.digest()).toBe(hexOfAll(Buffer.from('x')))
  })

  it('keeps many apart', async () => {
    const rigs = await Promise.all(Array.from({ length: 20 }, () => openRig()))
    const all = rigs.map(() => randomBytes(500_000))
    const running = rigs.map(rig => rig.run(500_000))
    for (const [i, rig] of rigs.entries()) rig.far.write(all[i] ?? '')
    await Promise.all(running)
    expect(rigs.map(rig => rig.digest())).toEqual(all.map(hexOfAll))
    for (const rig of rigs) await rig[Symbol.asyncDispose]()
  })
})

describe('receive() of a download', () => {
  const bytes = randomBytes(5_000_000)
  const blob = { digest: digestOf(bytes), size: bytes.length }
  const limits = { idleMs: 60_000 }

  it('goes on behind what was written, and is committed with it', async () => {
    const store = openContentStore(freshDirectory())
    await using line = await openLine()
    await using download = await store.download(blob)
    await download?.write(bytes.subarray(0, 1_500_000))
    line.far.write(bytes.subarray(1_500_000, 4_000_000))
    await download?.receive?.(line.descriptor, 2_500_000, limits)
    await download?.write(bytes.subarray(4_000_000))
    expect(await download?.commit()).toEqual(blob)
    expect((await readBlob(store, blob.digest)).equals(bytes)).toBe(true)
  })

  it('leaves what had come when it was stopped to the next one', async () => {
    const root = freshDirectory()
    const stop = new AbortController()
    const reason = new Error('enough')
    {
      await using line = await openLine()
      await using download = await openContentStore(root).download(blob)
      line.far.write(bytes.subarray(0, 2_000_000))
      const onProgress = (count: number) => {
        if (count === 2_000_000) stop.abort(reason)
      }
      const receiving = download?.receive?.(line.descriptor, bytes.length, {
        ...limits,
        onProgress,
        signal: stop.signal,
      })
      await expect(receiving).rejects.toBe(reason)
    }
    await using download = await openContentStore(root).download(blob)
    expect(download?.received).toBe(2_000_000)
    await download?.write(bytes.subarray(2_000_000))
    expect(await download?.commit()).toEqual(blob)
  })

  it('refuses other bytes at its commit', async () => {
    await using line = await openLine()
    await using download = await openContentStore(freshDirectory()).download(blob)
    line.far.write(Buffer.alloc(bytes.length))
    await download?.receive?.(line.descriptor, bytes.length, limits)
    await expect(download?.commit()).rejects.toMatchObject({ code: 'digest-mismatch' })
  })
})
