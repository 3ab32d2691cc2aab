/**
 * Every kind of content that the conformance suite has, through its steps: push by digest and tag,
 * list, head, pull, referrers, delete. For machines that cannot build the suite itself.
 */
import { randomBytes } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Algorithm } from '../../../src/oci/digest-hash.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { type Content, content, descriptorOf, startUpload } from '../server/contents.ts'
import { type Answer, startRegistry } from '../server/registry-server.ts'

const registry = await startRegistry()
afterAll(() => registry[Symbol.asyncDispose]())
const send = registry.send
const repository = 'conformance/flow'
const example = 'application/vnd.example.conf+json'

interface Data {
  readonly blobs: readonly Content[]
  /** Children before those that name them. */
  readonly manifests: readonly Content[]
  readonly tags?: Readonly<Record<string, Content>>
  /** Set with `?tag=` when the manifest is pushed by digest. */
  readonly tagParameters?: boolean
  readonly referrers?: { readonly subject: string; readonly expected: readonly object[] }
}

const layerOf = (type: string = mediaTypes.layerGzip, algorithm?: Algorithm) =>
  content(randomBytes(512), type, algorithm)
const configOf = (algorithm?: Algorithm) =>
  content(JSON.stringify({ os: 'linux', n: Math.random() }), mediaTypes.config, algorithm)

function manifest(document: object, algorithm?: Algorithm): Content {
  const full = { schemaVersion: 2, ...document }
  const { mediaType = '' } = full as { mediaType?: string }
  return content(JSON.stringify(full), mediaType, algorithm)
}

function image(extra: object = {}, algorithm?: Algorithm) {
  const config = configOf(algorithm)
  const layers = [layerOf(undefined, algorithm), layerOf(mediaTypes.layer, algorithm)]
  const document = {
    mediaType: mediaTypes.manifest,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
    ...extra,
  }
  return { manifest: manifest(document, algorithm), blobs: [config, ...layers] }
}

function artifact(extra: object = {}) {
  const config = content('{}', mediaTypes.empty)
  const layer = layerOf(example)
  const document = {
    mediaType: mediaTypes.manifest,
    artifactType: example,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    ...extra,
  }
  return { manifest: manifest(document), blobs: [config, layer] }
}

const index = (children: readonly object[], extra: object = {}, algorithm?: Algorithm) =>
  manifest({ mediaType: mediaTypes.index, manifests: children, ...extra }, algorithm)

function indexData(algorithm?: Algorithm, extra: object = {}) {
  const [one, two] = [image({}, algorithm), image({}, algorithm)]
  const top = index([descriptorOf(one.manifest), descriptorOf(two.manifest)], extra, algorithm)
  return {
    blobs: [...one.blobs, ...two.blobs],
    manifests: [one.manifest, two.manifest, top],
    top,
  }
}

function tagged(tag: string, made: { manifest: Content; blobs: readonly Content[] }): Data {
  return { blobs: made.blobs, manifests: [made.manifest], tags: { [tag]: made.manifest } }
}

function withSubject(): Data {
  const subject = image()
  const extra = { subject: descriptorOf(subject.manifest), annotations: { 'org.example': 'hello' } }
  const [plain, first, second] = [
    image({ subject: extra.subject }),
    artifact(extra),
    artifact({ ...extra, artifactType: 'application/vnd.example.other' }),
  ]
  return {
    blobs: [subject, plain, first, second].flatMap(made => made.blobs),
    manifests: [subject, plain, first, second].map(made => made.manifest),
    tags: { subject: subject.manifest, artifact1: first.manifest },
    referrers: {
      subject: subject.manifest.digest,
      expected: [
        { ...descriptorOf(plain.manifest), artifactType: mediaTypes.config },
        { ...descriptorOf(first.manifest), artifactType: example, annotations: extra.annotations },
        {
          ...descriptorOf(second.manifest),
          artifactType: 'application/vnd.example.other',
          annotations: extra.annotations,
        },
      ],
    },
  }
}

function missingSubject(): Data {
  const digest = digestOf('missing content')
  const made = artifact({ subject: { mediaType: mediaTypes.manifest, digest, size: 123 } })
  const expected = [{ ...descriptorOf(made.manifest), artifactType: example }]
  return { ...tagged('missing-subject', made), referrers: { subject: digest, expected } }
}

function tagParameters(algorithm: Algorithm): Data {
  const { blobs, manifests, top } = indexData(algorithm)
  const numbered = manifests.map((each, i) => [`param-${algorithm}-${i}`, each] as const)
  const tags = Object.fromEntries([[`param-${algorithm}`, top] as const, ...numbered])
  return { blobs, manifests, tags, tagParameters: true }
}

const nonDistributable = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
const large = Object.fromEntries(
  Array.from({ length: 390 }, (_, i) => [`a${i}`, 'A'.repeat(10_000)]),
)

const kinds: Readonly<Record<string, () => Data>> = {
  'an image': () => tagged('image', image()),
  'an image with a manifest of 3.9 MB': () => tagged('large', image({ annotations: large })),
  'an index': () => {
    const { top, ...data } = indexData()
    return { ...data, tags: { index: top } }
  },
  'an index of indexes': () => {
    const [one, two] = [indexData(), indexData()]
    const top = index([descriptorOf(one.top), descriptorOf(two.top)])
    return {
      blobs: [...one.blobs, ...two.blobs],
      manifests: [...one.manifests, ...two.manifests, top],
      tags: { nested: top },
    }
  },
  'an empty index': () => tagged('empty-index', { manifest: index([]), blobs: [] }),
  'an artifact': () => tagged('artifact', artifact()),
  'an artifact index': () => {
    const { top, ...data } = indexData(undefined, { artifactType: example })
    return { ...data, tags: { 'artifact-index': top } }
  },
  'an artifact of the empty blob': () => {
    const empty = content('{}', mediaTypes.empty)
    const made = artifact({ layers: [descriptorOf(empty)] })
    return tagged('artifact-empty', { manifest: made.manifest, blobs: [empty] })
  },
  'artifacts with a subject': withSubject,
  'a missing subject': missingSubject,
  'data in descriptors': () => {
    const config = content('{}', mediaTypes.empty)
    const data = { ...descriptorOf(config), data: Buffer.from('{}').toString('base64') }
    const document = { mediaType: mediaTypes.manifest, config: data, layers: [data] }
    return tagged('data', { manifest: manifest(document), blobs: [config] })
  },
  'layers that are not distributed': () => {
    const urls = ['https://store.example.com/blob']
    const away = { mediaType: nonDistributable, digest: digestOf('away'), size: 123_456, urls }
    return tagged('non-distributable', image({ layers: [away] }))
  },
  'unknown members': () => tagged('custom', image({ 'org.example.custom': { a: [1, null] } })),
  'no layers': () => tagged('no-layers', image({ layers: [] })),
  'a layer that is missing': () => {
    const made = image()
    return tagged('sparse-image', { manifest: made.manifest, blobs: made.blobs.slice(0, -1) })
  },
  'an index with a manifest that is missing': () => {
    const made = image()
    const gone = { mediaType: mediaTypes.manifest, digest: digestOf('gone'), size: 1024 }
    const top = index([descriptorOf(made.manifest), gone])
    return { blobs: made.blobs, manifests: [made.manifest, top], tags: { 'sparse-index': top } }
  },
  'sha512 throughout': () => {
    const { blobs, manifests } = indexData('sha512')
    return { blobs, manifests }
  },
  'blake3 throughout': () => {
    const { blobs, manifests } = indexData('blake3')
    return { blobs, manifests }
  },
  'tags as parameters': () => tagParameters('sha256'),
  'tags as parameters with sha512': () => tagParameters('sha512'),
}

describe.each(Object.entries(kinds))('%s', (_, make) => {
  it('goes through push, list, head, pull, referrers and delete', async () => {
    const data = make()
    await push(data)
    await list(data)
    await pull(data)
    await referrers(data)
    await remove(data)
  })
})

async function push(data: Data): Promise<void> {
  for (const [i, blob] of data.blobs.entries()) await pushBy(i, blob)
  for (const each of data.manifests) {
    const tags = data.tagParameters === true ? tagsOf(data, each) : []
    const query = tags.map(tag => `tag=${tag}`).join('&')
    const answer = await putManifest(`${each.digest}?${query}`, each)
    const accepted = (answer.headers['oci-tag'] ?? '').split(',').map(tag => tag.trim())
    expect(accepted.filter(tag => tag !== '').sort()).toEqual([...tags].sort())
  }
  if (data.tagParameters === true) return
  for (const [tag, each] of Object.entries(data.tags ?? {})) await putManifest(tag, each)
}

/** Each way to push in turn; some blobs are there already, which is no error. */
async function pushBy(way: number, { digest, bytes }: Content): Promise<void> {
  const uploads = `/v2/${repository}/blobs/uploads/`
  let answer: Answer
  if (way % 3 === 0) answer = await send('POST', `${uploads}?digest=${digest}`, { body: bytes })
  else {
    const location = await startUpload(registry, repository)
    if (way % 3 === 1) await send('PATCH', location, { body: bytes, chunked: true })
    const body = way % 3 === 1 ? {} : { body: bytes }
    answer = await send('PUT', `${location}?digest=${digest}`, body)
  }
  expect(answer.status).toBe(201)
  expect((await send('GET', answer.headers.location ?? '')).body.equals(bytes)).toBe(true)
}

async function putManifest(reference: string, each: Content): Promise<Answer> {
  const answer = await send('PUT', `/v2/${repository}/manifests/${reference}`, {
    headers: { 'content-type': each.mediaType },
    body: each.bytes,
    chunked: true,
  })
  expect(answer.status).toBe(201)
  expect(answer.headers['docker-content-digest']).toBe(each.digest)
  expect(answer.headers['oci-subject']).toBe(JSON.parse(`${each.bytes}`).subject?.digest)
  const stored = await send('GET', answer.headers.location ?? '')
  expect(stored.body.equals(each.bytes)).toBe(true)
  expect(stored.headers['content-type']).toBe(each.mediaType)
  return answer
}

function tagsOf(data: Data, wanted: Content): string[] {
  return Object.entries(data.tags ?? {}).flatMap(([tag, each]) => (each === wanted ? [tag] : []))
}

async function list({ tags = {} }: Data): Promise<void> {
  const answer = await send('GET', `/v2/${repository}/tags/list`)
  const found: string[] = JSON.parse(answer.body.toString()).tags
  expect(found).toEqual(expect.arrayContaining(Object.keys(tags)))
  expect(found).toEqual([...found].sort())
  const last = found[Math.floor(found.length / 2)] ?? ''
  const rest = await send('GET', `/v2/${repository}/tags/list?last=${last}`)
  expect(JSON.parse(rest.body.toString()).tags).toEqual(found.filter(tag => tag > last))
}

async function pull({ blobs, manifests, tags = {} }: Data): Promise<void> {
  const paths = [
    ...blobs.map(each => [`blobs/${each.digest}`, each] as const),
    ...manifests.map(each => [`manifests/${each.digest}`, each] as const),
    ...Object.entries(tags).map(([tag, each]) => [`manifests/${tag}`, each] as const),
  ]
  for (const [path, each] of paths) {
    for (const method of ['HEAD', 'GET']) {
      const answer = await send(method, `/v2/${repository}/${path}`)
      expect(answer.status).toBe(200)
      expect(answer.headers['docker-content-digest']).toBe(each.digest)
      expect(answer.headers['content-length']).toBe(String(each.bytes.length))
      if (path.startsWith('manifests/')) {
        expect(answer.headers['content-type']).toBe(each.mediaType)
      }
      expect(answer.body.equals(method === 'GET' ? each.bytes : Buffer.alloc(0))).toBe(true)
    }
  }
}

async function referrers(data: Data): Promise<void> {
  if (data.referrers === undefined) return
  const { subject, expected } = data.referrers
  const answer = await send('GET', `/v2/${repository}/referrers/${subject}`)
  expect(answer.headers['content-type']).toBe(mediaTypes.index)
  const found = JSON.parse(answer.body.toString())
  expect(found).toMatchObject({ schemaVersion: 2, mediaType: mediaTypes.index })
  expect(found.manifests).toHaveLength(expected.length)
  expect(found.manifests).toEqual(expect.arrayContaining([...expected]))
}

async function remove({ blobs, manifests, tags = {} }: Data): Promise<void> {
  const paths = [
    ...Object.keys(tags).map(tag => `manifests/${tag}`),
    ...manifests.map(each => `manifests/${each.digest}`).reverse(),
    ...new Set(blobs.map(each => `blobs/${each.digest}`)),
  ]
  for (const path of paths) {
    expect((await send('DELETE', `/v2/${repository}/${path}`)).status).toBe(202)
    expect((await send('HEAD', `/v2/${repository}/${path}`)).status).toBe(404)
  }
}
