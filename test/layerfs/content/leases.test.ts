import { appendFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { acquireLock } from '../../../src/layerfs/content/file-lock.ts'
import { type Held, type Leases, openLeases } from '../../../src/layerfs/content/leases.ts'
import { chainId, digestOf, parseDiffId } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)

const digest = digestOf('blob')
const diffId = parseDiffId(digestOf('layer'))
const name = chainId(undefined, diffId)
const target = { mediaType: mediaTypes.manifest, digest: digestOf('image'), size: 5 }

const heldNow = (leases: Leases): Promise<Held> => leases.collect(async held => held)

describe('openLeases', () => {
  it('(1) tells who collects what any process holds, each thing once', async () => {
    const root = freshDirectory()
    const [one, other] = [openLeases(root), openLeases(root)]
    await one.hold({ kind: 'blob', digest })
    await one.hold({ kind: 'blob', digest })
    await other.hold({ kind: 'snapshot', name })
    await other.hold({ kind: 'layer', diffId })
    await other.hold({ kind: 'image', target })
    expect(await heldNow(openLeases(root))).toEqual({
      blobs: new Set([digest]),
      snapshots: new Set([name]),
      layers: new Set([diffId]),
      images: [target],
    })
  })

  it('(2) who begins to hold something waits until a collection has ended', async () => {
    const root = freshDirectory()
    const [one, collector] = [openLeases(root), openLeases(root)]
    let isHeld = false
    let holding: Promise<void> | undefined
    await collector.collect(async () => {
      holding = one.hold({ kind: 'blob', digest }).then(() => {
        isHeld = true
      })
      await pause(30)
      expect(isHeld).toBe(false)
    })
    await holding
    expect((await heldNow(collector)).blobs).toEqual(new Set([digest]))
  })

  it('(2) collections come one by one', async () => {
    const root = freshDirectory()
    let running = 0
    const collect = () =>
      openLeases(root).collect(async () => {
        expect(++running).toBe(1)
        await pause(5)
        running--
      })
    await Promise.all([collect(), collect(), collect()])
  })

  it('(4) what was let go of counts no more, and nothing is left of it', async () => {
    const root = freshDirectory()
    const leases = openLeases(root)
    await leases.hold({ kind: 'blob', digest })
    leases.letGo()
    leases.letGo()
    expect((await heldNow(leases)).blobs).toEqual(new Set())
    expect(readdirSync(join(root, 'leases'))).toEqual([])
    await leases.hold({ kind: 'blob', digest })
    expect((await heldNow(leases)).blobs).toEqual(new Set([digest]))
  })

  it('(4) a lease that nobody has locked is a dead process’s, and is removed', async () => {
    const root = freshDirectory()
    mkdirSync(join(root, 'leases'))
    writeFileSync(join(root, 'leases', 'dead'), `${JSON.stringify({ kind: 'blob', digest })}\n`)
    const leases = openLeases(root)
    expect((await heldNow(leases)).blobs).toEqual(new Set())
    expect(existsSync(join(root, 'leases', 'dead'))).toBe(false)
    writeFileSync(join(root, 'leases', 'dead'), '')
    await leases.hold({ kind: 'blob', digest })
    await leases.sweep()
    expect(readdirSync(join(root, 'leases'))).toHaveLength(1)
  })

  it('a line that was cut short holds nothing and hides no other', async () => {
    const root = freshDirectory()
    const leases = openLeases(root)
    await leases.hold({ kind: 'blob', digest })
    const [lease = ''] = readdirSync(join(root, 'leases'))
    appendFileSync(join(root, 'leases', lease), '{"kind":"snapshot","na')
    expect(await heldNow(openLeases(root))).toMatchObject({
      blobs: new Set([digest]),
      snapshots: new Set(),
    })
  })

  it('where no lease can be written, nothing is collected until it is let go of', async () => {
    const root = freshDirectory()
    // As on a disk without space for a directory.
    const full = openLeases(root, () => {
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
    })
    await full.hold({ kind: 'blob', digest })
    await full.hold({ kind: 'snapshot', name })
    await expect(full.collect(async () => {})).rejects.toMatchObject({ code: 'conflict' })
    const collecting = heldNow(openLeases(root))
    full.letGo()
    expect(await collecting).toMatchObject({ blobs: new Set() })
  })

  it('says that another process goes on cleaning up', async () => {
    const root = freshDirectory()
    using _lock = await acquireLock(join(root, 'locks', 'collecting'), 'exclusive')
    await expect(openLeases(root).collect(async () => {})).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('another process is doing so'),
    })
  }, 10_000)
})
