import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { putBlob } from '../../../src/layerfs/content/content-store.ts'
import { openContentStore } from '../../../src/layerfs/content/directory-store.ts'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import { readBlob } from './content-store.contract.ts'
import { removeCompiled, startProcess } from './processes.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)
afterAll(removeCompiled)

const bytes = randomBytes(5_000_000)
const blob = { digest: digestOf(bytes), size: bytes.length }
const partial = `sha256-${hexOf(blob.digest)}`

async function leave(root: string, count: number): Promise<void> {
  await using download = await openContentStore(root).download(blob)
  await download?.write(bytes.subarray(0, count))
}

describe('download()', () => {
  it('goes on where an earlier one stopped', async () => {
    const root = freshDirectory()
    await leave(root, 2_000_000)
    const store = openContentStore(root)
    await using download = await store.download(blob)
    expect(download?.received).toBe(2_000_000)
    await download?.write(bytes.subarray(2_000_000))
    await download?.commit()
    expect((await readBlob(store, blob.digest)).equals(bytes)).toBe(true)
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  it('keeps nothing of what is as soon received again', async () => {
    const root = freshDirectory()
    await leave(root, 1000)
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  it('starts over when there is more than the blob has', async () => {
    const root = freshDirectory()
    const store = openContentStore(root)
    await putBlob(store, [])
    writeFileSync(join(root, 'ingest', partial), Buffer.alloc(6_000_000))
    await using download = await store.download(blob)
    expect(download?.received).toBe(0)
    await download?.write(bytes)
    expect(await download?.commit()).toEqual(blob)
  })

  it('refuses at its commit what begins with other bytes, which are then gone', async () => {
    const root = freshDirectory()
    const store = openContentStore(root)
    await putBlob(store, [])
    writeFileSync(join(root, 'ingest', partial), Buffer.alloc(2_000_000))
    await using download = await store.download(blob)
    await download?.write(bytes.subarray(2_000_000))
    await expect(download?.commit()).rejects.toMatchObject({ code: 'digest-mismatch' })
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  it('waits for another one, and is none when that has completed the blob', async () => {
    const root = freshDirectory()
    const first = await openContentStore(root).download(blob)
    let isWaiting = true
    const second = openContentStore(root)
      .download(blob)
      .finally(() => {
        isWaiting = false
      })
    await pause(120)
    expect(isWaiting).toBe(true)
    await first?.write(bytes)
    await first?.commit()
    expect(await second).toBeUndefined()
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  it('waits no longer than its signal lets it', async () => {
    const root = freshDirectory()
    await using _first = await openContentStore(root).download(blob)
    const stop = new AbortController()
    const second = openContentStore(root).download(blob, stop.signal)
    setTimeout(() => stop.abort(new Error('enough')), 80)
    await expect(second).rejects.toThrow('enough')
  })

  it('that was left outlives sweeps for days, not weeks', async () => {
    const root = freshDirectory()
    await leave(root, 2_000_000)
    await putBlob(openContentStore(root), [])
    expect(readdirSync(join(root, 'ingest'))).toEqual([partial])
    const old = new Date(Date.now() - 8 * 24 * 60 * 60 * 1000)
    utimesSync(join(root, 'ingest', partial), old, old)
    await putBlob(openContentStore(root), [])
    expect(readdirSync(join(root, 'ingest'))).toEqual([])
  })

  it('goes on after 8 killed processes, one after the other, and ends whole', {
    timeout: 60_000,
  }, async () => {
    const root = freshDirectory()
    const size = 40 * 1024 * 1024
    const store = openContentStore(root)
    let received = 0
    let rounds = 0
    for (; rounds < 8; rounds++) {
      const child = startProcess('download-blob', [root, String(size), rounds === 7 ? '' : 'slow'])
      const line = await child.line()
      if (line === 'there') break
      expect(Number(line)).toBeGreaterThanOrEqual(received)
      received = Number(line)
      if (rounds < 7) await pause(20 + rounds * 20).then(() => child.kill())
      await child.ended
    }
    expect(received).toBeGreaterThan(1024 * 1024)
    const whole = Buffer.alloc(size, 'twenty bytes at most')
    expect(await store.find(digestOf(whole))).toMatchObject({ size })
    expect((await readBlob(store, digestOf(whole))).equals(whole)).toBe(true)
    expect(existsSync(join(root, 'ingest')) ? readdirSync(join(root, 'ingest')) : []).toEqual([])
  })
})
