/**
 * What every ContentStore promises: the invariants (1)–(3) of content-store.ts.
 */
import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import {
  type BlobReader,
  type ByteRange,
  type ContentStore,
  putBlob,
} from '../../../src/layerfs/content/content-store.ts'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'

const absent = digestOf('nobody stored this')

export async function readBlob(
  store: BlobReader,
  digest: Digest,
  range?: ByteRange,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of store.open(digest, range)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function contentStoreContract(open: () => Promise<ContentStore>): void {
  it('commit() makes the bytes visible under their digest', async () => {
    const store = await open()
    const info = await putBlob(store, [Buffer.from('hello '), Buffer.from('world')])
    expect(info).toEqual({ digest: digestOf('hello world'), size: 11 })
    expect(await store.find(info.digest)).toEqual(info)
    expect((await readBlob(store, info.digest)).toString()).toBe('hello world')
    expect(Buffer.from(await store.read(info.digest)).toString()).toBe('hello world')
  })

  it('commit() of nothing stores the empty blob', async () => {
    const store = await open()
    const info = await putBlob(store, [])
    expect(info).toEqual({ digest: digestOf(''), size: 0 })
    expect(await readBlob(store, info.digest)).toHaveLength(0)
  })

  it('ingest() hashes with sha512 when asked, and putBlob() when the digest is one', async () => {
    const store = await open()
    const digest = digestOf('long', 'sha512')
    expect(await putBlob(store, [Buffer.from('long')], { digest })).toEqual({ digest, size: 4 })
    expect((await readBlob(store, digest)).toString()).toBe('long')
  })

  it('write() takes chunks of every size, in order', async () => {
    const store = await open()
    const sizes = [1, 0, 100_000, 262_143, 262_144, 262_145, 7, 3_000_000, 1]
    const chunks = sizes.map(size => randomBytes(size))
    const bytes = Buffer.concat(chunks)
    const { digest } = await putBlob(store, chunks)
    expect(digest).toBe(digestOf(bytes))
    expect((await readBlob(store, digest)).equals(bytes)).toBe(true)
  })

  it('write() does not keep the chunk: its owner may overwrite it', async () => {
    const store = await open()
    await using ingest = await store.ingest()
    const chunk = Buffer.from('first')
    await ingest.write(chunk)
    chunk.write('other')
    await ingest.write(chunk)
    const { digest } = await ingest.commit()
    expect((await readBlob(store, digest)).toString()).toBe('firstother')
  })

  it('(1) a blob is not visible before its commit', async () => {
    const store = await open()
    await using ingest = await store.ingest()
    await ingest.write(Buffer.from('pending'))
    expect(await store.find(digestOf('pending'))).toBeUndefined()
    await ingest.commit()
    expect(await store.find(digestOf('pending'))).toBeDefined()
  })

  it('(1) commit() refuses other bytes than expected, quoting both digests', async () => {
    const store = await open()
    const put = putBlob(store, [Buffer.from('evil')], { digest: digestOf('good') })
    await expect(put).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining(digestOf('evil')),
    })
    expect(await list(store)).toEqual([])
  })

  it('(1) commit() refuses another size than expected, quoting both', async () => {
    const store = await open()
    const put = putBlob(store, [Buffer.from('abc')], { digest: digestOf('abc'), size: 4 })
    await expect(put).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining('expected 4 bytes, got 3'),
    })
    expect(await store.find(digestOf('abc'))).toBeUndefined()
  })

  it('(2) commit() of the same bytes again is no error and no second copy', async () => {
    const store = await open()
    await Promise.all(Array.from({ length: 8 }, () => putBlob(store, [Buffer.from('same')])))
    expect(await list(store)).toEqual([digestOf('same')])
    expect((await readBlob(store, digestOf('same'))).toString()).toBe('same')
  })

  it('(3) an ingest that is disposed without a commit leaves nothing', async () => {
    const store = await open()
    {
      await using ingest = await store.ingest()
      await ingest.write(Buffer.from('forgotten'))
    }
    expect(await list(store)).toEqual([])
  })

  it('(3) a source that fails half-way leaves nothing', async () => {
    const store = await open()
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('half')
      throw new Error('connection reset')
    }
    await expect(putBlob(store, broken())).rejects.toThrow('connection reset')
    expect(await list(store)).toEqual([])
  })

  it.each([
    [{ start: 0, end: 4 }, '0123'],
    [{ start: 4 }, '456789'],
    [{ start: 9, end: 10 }, '9'],
    [{ start: 5, end: 5 }, ''],
    [{ start: 8, end: 99 }, '89'],
    [{ start: 99 }, ''],
  ])('open() reads the range %o', async (range, text) => {
    const store = await open()
    const { digest } = await putBlob(store, [Buffer.from('0123456789')])
    expect((await readBlob(store, digest, range)).toString()).toBe(text)
  })

  it('find() answers undefined, open() and read() throw not-found for an absent blob', async () => {
    const store = await open()
    expect(await store.find(absent)).toBeUndefined()
    await expect(readBlob(store, absent)).rejects.toMatchObject({ code: 'not-found' })
    await expect(store.read(absent)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('read() refuses a blob above the limit, with both sizes', async () => {
    const store = await open()
    const { digest } = await putBlob(store, [Buffer.alloc(11)])
    await expect(store.read(digest, 10)).rejects.toMatchObject({
      code: 'too-large',
      message: expect.stringMatching(/11 bytes, more than 10/),
    })
    expect(await store.read(digest, 11)).toHaveLength(11)
  })

  it('remove() is idempotent, and a reader that has it open reads on', async () => {
    const store = await open()
    const bytes = randomBytes(1_000_000)
    const { digest } = await putBlob(store, [bytes])
    const chunks: Uint8Array[] = []
    for await (const chunk of store.open(digest)) {
      await store.remove(digest)
      chunks.push(chunk)
    }
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
    expect(await store.find(digest)).toBeUndefined()
    await store.remove(digest)
  })

  it('list() tells every blob of every algorithm with its size', async () => {
    const store = await open()
    await putBlob(store, [Buffer.from('one')])
    await putBlob(store, [Buffer.from('three')], { digest: digestOf('three', 'sha512') })
    const found = new Map<string, number>()
    for await (const info of store.list()) found.set(info.digest, info.size)
    expect(found).toEqual(
      new Map([
        [digestOf('one'), 3],
        [digestOf('three', 'sha512'), 5],
      ]),
    )
  })
}

async function list(store: ContentStore): Promise<Digest[]> {
  const digests: Digest[] = []
  for await (const { digest } of store.list()) digests.push(digest)
  return digests
}

export function downloadContract(open: () => Promise<ContentStore>): void {
  const bytes = randomBytes(3_000_000)
  const blob = { digest: digestOf(bytes), size: bytes.length }

  it('download() makes the blob visible when it is committed, and is none when it is there', async () => {
    const store = await open()
    await using download = await store.download(blob)
    expect(download?.received).toBe(0)
    await download?.write(bytes)
    expect(await store.find(blob.digest)).toBeUndefined()
    expect(await download?.commit()).toEqual(blob)
    expect((await readBlob(store, blob.digest)).equals(bytes)).toBe(true)
    expect(await store.download(blob)).toBeUndefined()
  })

  it.each([
    ['other bytes', randomBytes(3_000_000)],
    ['too few', bytes.subarray(1)],
    ['none', Buffer.alloc(0)],
  ])('download() of %s is refused at its commit, and nothing is left', async (_, wrong) => {
    const store = await open()
    await using download = await store.download(blob)
    await download?.write(wrong)
    await expect(download?.commit()).rejects.toMatchObject({ code: 'digest-mismatch' })
    await using next = await store.download(blob)
    expect(next?.received).toBe(0)
    expect(await store.find(blob.digest)).toBeUndefined()
  })
}
