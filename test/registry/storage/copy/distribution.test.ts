/** What the real Distribution wrote, whole and damaged, copied into a store of ours. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  type CopyEvent,
  copyRegistry,
} from '../../../../src/registry/storage/copy/copy-registry.ts'
import {
  distributionSource,
  holdsDistribution,
} from '../../../../src/registry/storage/copy/distribution-source.ts'
import { folderReader } from '../../../../src/registry/storage/copy/folder-reader.ts'
import { createRegistryStorage } from '../../../../src/registry/storage/registry-storage.ts'
import { findTag } from '../../../../src/registry/storage/tags.ts'
import { distributionPrograms, startDockerRegistry } from '../../client/docker-registry.ts'
import { type Content, content, imageOf, indexOf } from '../../server/contents.ts'
import { startRegistry, type TestRegistry } from '../../server/registry-server.ts'

const folder = await mkdtemp(join(tmpdir(), 'tsregistry-import-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

const layers = ['one', 'two', 'three'].map(name => content(`layer ${name}`))
const [one, two, three] = layers as [Content, Content, Content]
const config = content(JSON.stringify({ os: 'linux', architecture: 'amd64' }))
const image = imageOf([one])
const other = imageOf([one, two])
const third = imageOf([three])
const index = indexOf([image, other])
const untyped = imageOf([two], { mediaType: undefined })
const signature = imageOf([], {
  subject: { mediaType: image.mediaType, digest: image.digest, size: image.bytes.length },
})
const signatureTag = `sha256-${image.digest.slice('sha256:'.length)}.sig`

/** Pushed as clients do, then stopped. */
async function fill(program: string, storage: string): Promise<void> {
  await using registry = await startDockerRegistry({ program, storage })
  const url = `http://${registry.host}`
  const push = async (repository: string, blobs: readonly Content[]) => {
    for (const { digest, bytes } of blobs) {
      const begun = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: 'POST' })
      const location = begun.headers.get('location') ?? ''
      const target = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
      await mustBe(201, await fetch(target, { method: 'PUT', body: bytes }))
    }
  }
  const put = async (place: string, { mediaType, bytes }: Content) =>
    mustBe(
      201,
      await fetch(`${url}/v2/${place}`, {
        method: 'PUT',
        headers: { 'content-type': mediaType },
        body: bytes,
      }),
    )
  await push('a/b', [config, one, two])
  await put('a/b/manifests/1.0', other)
  await put('a/b/manifests/1.0', image)
  await put(`a/b/manifests/${other.digest}`, other)
  await put('a/b/manifests/latest', index)
  await put(`a/b/manifests/${signatureTag}`, signature)
  await put('a/b/manifests/untyped', untyped)
  await push('a', [config, three])
  await put('a/manifests/x', third)
  await push('a/b/c', [config, one])
  await put('a/b/c/manifests/x', image)
  // An upload that nobody goes on with.
  await fetch(`${url}/v2/a/blobs/uploads/`, { method: 'POST' })
}

async function mustBe(status: number, answer: Response): Promise<void> {
  if (answer.status !== status) throw new Error(`${answer.status}: ${await answer.text()}`)
}

async function copy(storage: string, target: TestRegistry): Promise<CopyEvent[]> {
  const events: CopyEvent[] = []
  await copyRegistry(
    distributionSource(folderReader(storage)),
    createRegistryStorage(target.objects),
    { signal: new AbortController().signal, onEvent: event => void events.push(event) },
  )
  return events
}

const textOf = (events: readonly CopyEvent[]) =>
  events.flatMap(event =>
    event.kind === 'damaged' || event.kind === 'mended'
      ? [`${event.kind} ${event.repository} ${event.what}: ${event.reason}`]
      : [],
  )

const pathOf = (digest: string) => digest.replace(':', '/')
const dataOf = (storage: string, digest: string) => {
  const hex = digest.slice('sha256:'.length)
  return join(storage, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
}
const linkOf = (storage: string, repository: string, name: string) =>
  join(storage, 'docker/registry/v2/repositories', repository, name, 'link')

const programs = distributionPrograms()
if (programs.length === 0) {
  describe.skip('distributionSource() [skipped: needs docker-registry]', () => {})
}

describe.each(programs)('distributionSource() of what %s stored', program => {
  const storageOf = (name: string) => join(folder, `${basename(program)}-${name}`)

  it('brings blobs, manifests without tags, indexes, signatures and tags with their times', async () => {
    const storage = storageOf('whole')
    await fill(program, storage)
    const when = new Date('2024-05-06T07:08:09Z')
    await utimes(linkOf(storage, 'a/b', '_manifests/tags/1.0/current'), when, when)
    expect(await holdsDistribution(folderReader(storage))).toBe(true)
    await using target = await startRegistry({ missingReferences: 'refuse' })
    const events = await copy(storage, target)
    expect(textOf(events)).toEqual([])
    const get = async (path: string) => {
      const answer = await target.send('GET', `/v2/${path}`)
      return answer.status === 200 ? answer.body.toString() : `${answer.status}`
    }
    expect(JSON.parse(await get('_catalog'))).toEqual({ repositories: ['a', 'a/b', 'a/b/c'] })
    expect(JSON.parse(await get('a/b/tags/list')).tags).toEqual(
      ['1.0', 'latest', signatureTag, 'untyped'].sort(),
    )
    expect(await get('a/b/manifests/1.0')).toBe(image.bytes.toString())
    expect(await get(`a/b/manifests/${other.digest}`)).toBe(other.bytes.toString())
    expect(await get('a/b/manifests/latest')).toBe(index.bytes.toString())
    expect(await get(`a/b/referrers/${image.digest}`)).toContain(signature.digest)
    for (const blob of [config, one, two]) {
      expect(await get(`a/b/blobs/${blob.digest}`)).toBe(blob.bytes.toString())
    }
    const typed = await target.send('GET', '/v2/a/b/manifests/untyped')
    expect(typed.headers['content-type']).toBe(image.mediaType)
    // What other repositories have is not theirs.
    expect(await get(`a/b/c/blobs/${two.digest}`)).toBe('404')
    const tag = await findTag(createRegistryStorage(target.objects), 'a/b' as never, '1.0' as never)
    expect(tag?.pushedAt).toBe(when.getTime())
    // One repository's bytes serve the other.
    const sizes = events.flatMap(event => (event.kind === 'blob' ? [event.size] : []))
    expect(sizes.filter(size => size === 0)).toHaveLength(3)
    expect(await copy(storage, target)).toEqual([])
  })

  it('names what is damaged, mends what says by its name what it is, and brings all else', async () => {
    const storage = storageOf('damaged')
    await fill(program, storage)
    await rm(dataOf(storage, two.digest))
    await writeFile(dataOf(storage, three.digest), 'layer thrEe')
    await writeFile(linkOf(storage, 'a/b', `_layers/${pathOf(one.digest)}`), '')
    await writeFile(linkOf(storage, 'a/b', '_manifests/tags/1.0/current'), '')
    await rm(dataOf(storage, index.digest))
    await using target = await startRegistry()
    const told = textOf(await copy(storage, target)).sort()
    const nowhere = 'which is missing or damaged'
    const guess = expect.stringMatching(
      /damaged a\/b tag 1\.0: its link is missing or empty; it probably pointed at sha256:/,
    )
    expect(told).toEqual(
      [
        `damaged a blob ${three.digest}: its bytes are others than its digest says`,
        `damaged a manifest ${third.digest}: it names blob ${three.digest}, ${nowhere}`,
        `damaged a/b manifest ${other.digest}: it names blob ${two.digest}, ${nowhere}`,
        `damaged a/b manifest ${untyped.digest}: it names blob ${two.digest}, ${nowhere}`,
        `damaged a/b manifest ${index.digest}: its bytes are missing or damaged`,
        `damaged a/b tag latest: it points at manifest ${index.digest}, ${nowhere}`,
        `mended a/b layer link ${one.digest}: it is missing or empty, and was taken by its name`,
        'damaged a/b tag 1.0: its link is missing or empty; it probably pointed at sha256:',
      ]
        .sort()
        .map(line => (line.includes('probably') ? guess : line)),
    )
    const list = await target.send('GET', '/v2/a/b/tags/list')
    expect(list.json()).toEqual({ name: 'a/b', tags: [signatureTag, 'untyped'] })
    for (const path of [`a/b/blobs/${one.digest}`, `a/b/manifests/${image.digest}`]) {
      expect((await target.send('GET', `/v2/${path}`)).status).toBe(200)
    }
    expect((await target.send('GET', `/v2/a/blobs/${three.digest}`)).status).toBe(404)
    // Mended at the source, it is brought by the next run.
    await writeFile(dataOf(storage, three.digest), three.bytes)
    await copy(storage, target)
    expect((await target.send('GET', `/v2/a/blobs/${three.digest}`)).status).toBe(200)
  })

  it('passes over links whose bytes a collection removed, when no manifest misses them', async () => {
    const storage = storageOf('collected')
    await fill(program, storage)
    const manifests = join(storage, 'docker/registry/v2/repositories/a/_manifests')
    await rm(manifests, { recursive: true })
    await rm(dataOf(storage, three.digest))
    await using target = await startRegistry()
    expect(textOf(await copy(storage, target))).toEqual([])
  })
})

describe('distributionSource()', () => {
  it('takes nothing from a folder that is not distribution’s, nor what is no link', async () => {
    const storage = join(folder, 'odd')
    expect(await holdsDistribution(folderReader(storage))).toBe(false)
    const repository = join(storage, 'docker/registry/v2/repositories/Odd/_layers/sha256')
    const hex = createHash('sha256').update('x').digest('hex')
    await mkdir(join(repository, hex), { recursive: true })
    await writeFile(join(repository, hex, 'link'), `sha256:${hex}`)
    await mkdir(join(storage, 'docker/registry/v2/repositories/app/_layers'), { recursive: true })
    await writeFile(join(storage, 'docker/registry/v2/repositories/app/_layers/stray'), 'x')
    await using target = await startRegistry()
    const told = textOf(await copy(storage, target))
    expect(told).toEqual(['damaged Odd repository: its name is none that a registry takes'])
  })

  it('names what docker schema 1 left, which clients no longer read', async () => {
    const storage = join(folder, 'schema1')
    const old = Buffer.from('{"schemaVersion":1,"name":"app","tag":"1","fsLayers":[]}')
    const hex = createHash('sha256').update(old).digest('hex')
    const write = async (path: string, bytes: string | Uint8Array) => {
      await mkdir(join(storage, 'docker/registry/v2', path, '..'), { recursive: true })
      await writeFile(join(storage, 'docker/registry/v2', path), bytes)
    }
    await write(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, old)
    await write(`repositories/app/_manifests/revisions/sha256/${hex}/link`, `sha256:${hex}`)
    await using target = await startRegistry()
    expect(textOf(await copy(storage, target))).toEqual([
      `damaged app manifest sha256:${hex}: Cannot parse manifest: schema version 1 is not supported`,
    ])
  })
})
