import { afterAll, describe, expect, it } from 'vitest'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { content, descriptorOf, imageOf, indexOf, pushManifest } from './contents.ts'
import { type Answer, startRegistry } from './registry-server.ts'

const registry = await startRegistry()
afterAll(() => registry[Symbol.asyncDispose]())
const send = registry.send

const image = imageOf([])
const tagsOf = (answer: Answer): string[] => JSON.parse(answer.body.toString()).tags
const next = (answer: Answer): string =>
  /^<([^>]+)>; rel="next"$/.exec(answer.headers.link ?? '')?.[1] ?? ''

/** Follows the links from `target` on. */
async function pages(target: string): Promise<Answer[]> {
  const found: Answer[] = []
  for (let at = target; at !== ''; at = next(found.at(-1)!)) {
    found.push(await send('GET', at))
    if (found.length > 100) throw new Error('The links have no end')
  }
  return found
}

describe('the list of tags (end-8)', () => {
  const tags = ['A', '_x', 'a', 'a-b', 'a.b', 'a0', 'b', 'v1.10', 'v1.9', '__proto__'].sort()
  const pushed = Promise.all(
    tags.map(tag => pushManifest(registry, { repository: 'list/tags', reference: tag }, image)),
  )

  it('is complete and in order (registry 4.6 #13)', async () => {
    await pushed
    const answer = await send('GET', '/v2/list/tags/tags/list')
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/json')
    expect(JSON.parse(answer.body.toString())).toEqual({ name: 'list/tags', tags })
    expect(answer.headers.link).toBeUndefined()
  })

  it.each([1, 2, 3, 9, 10, 11])('comes whole in pages of %i', async n => {
    await pushed
    const answers = await pages(`/v2/list/tags/tags/list?n=${n}`)
    expect(answers.flatMap(tagsOf)).toEqual(tags)
    for (const answer of answers.slice(0, -1)) expect(tagsOf(answer)).toHaveLength(n)
  })

  it('goes on after "last", which need not be a tag', async () => {
    await pushed
    const tagsAfter = async (last: string) =>
      tagsOf(await send('GET', `/v2/list/tags/tags/list?last=${encodeURIComponent(last)}`))
    expect(await tagsAfter('a')).toEqual(tags.filter(tag => tag > 'a'))
    expect(await tagsAfter('a/../..')).toEqual(tags.filter(tag => tag > 'a/../..'))
    expect(await tagsAfter('é\r\n')).toEqual([])
    expect(await tagsAfter('zzz')).toEqual([])
  })

  it('is empty and without a link for n=0', async () => {
    await pushed
    const answer = await send('GET', '/v2/list/tags/tags/list?n=0')
    expect([tagsOf(answer), answer.headers.link]).toEqual([[], undefined])
  })

  it.each(['-1', '0x10', '1e3', 'a', '1.5', '', '9'.repeat(30)])('refuses n=%j', async n => {
    const answer = await send('GET', `/v2/list/tags/tags/list?n=${n}`)
    expect(answer.status).toBe(400)
    expect(answer.json().errors[0]?.code).toBe('PAGINATION_NUMBER_INVALID')
  })

  it('gives no more than it has for a huge n (CVE-2023-2253)', async () => {
    await pushed
    for (const n of ['1000000000', '9007199254740993']) {
      expect(tagsOf(await send('GET', `/v2/list/tags/tags/list?n=${n}`))).toEqual(tags)
    }
  })

  it('refuses "n" or "last" given twice', async () => {
    expect((await send('GET', '/v2/list/tags/tags/list?n=1&n=2')).status).toBe(400)
    expect((await send('GET', '/v2/list/tags/tags/list?last=a&last=b')).status).toBe(400)
  })

  it('of an unknown repository is 404 NAME_UNKNOWN', async () => {
    const answer = await send('GET', '/v2/nobody/tags/list')
    expect([answer.status, answer.json().errors[0]?.code]).toEqual([404, 'NAME_UNKNOWN'])
  })

  it('keeps all of 200 tags that were pushed at once (registry 4.6 #4)', async () => {
    const many = Array.from({ length: 200 }, (_, i) => `t${String(i).padStart(3, '0')}`)
    await Promise.all(
      many.map(tag => pushManifest(registry, { repository: 'many', reference: tag }, image)),
    )
    expect(tagsOf(await send('GET', '/v2/many/tags/list'))).toEqual(many)
  })
})

describe('the catalog', () => {
  it('lists repositories in order, names within names included (registry 4.6 #13)', async () => {
    await using own = await startRegistry()
    const names = ['a', 'a-b', 'a.b', 'a/b', 'a/b/c', 'a0', 'ab', 'b__c'].sort()
    for (const repository of names) await pushManifest(own, { repository, reference: 'x' }, image)
    const found: string[] = []
    for (let at = '/v2/_catalog?n=3'; at !== ''; ) {
      const answer = await own.send('GET', at)
      found.push(...JSON.parse(answer.body.toString()).repositories)
      at = next(answer)
    }
    expect(found).toEqual(names)
  })
})

describe('the list of referrers (end-12)', () => {
  const subject = imageOf([content('subject')])
  const referrer = (type: string, n: number) =>
    imageOf([], { artifactType: type, subject: descriptorOf(subject), annotations: { n: `${n}` } })
  const list = async (target: string) => {
    const answer = await send('GET', target)
    return { answer, manifests: JSON.parse(answer.body.toString()).manifests }
  }

  it('is an empty index where nothing is known, never 404', async () => {
    const { answer, manifests } = await list(`/v2/not/yet/referrers/${digestOf('nothing')}`)
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe(mediaTypes.index)
    expect(manifests).toEqual([])
    expect((await send('GET', '/v2/not/yet/referrers/sha256:x')).status).toBe(400)
  })

  it('shows type, size, artifact type and annotations, and forgets what is deleted', async () => {
    const repository = 'ref/basic'
    const typed = referrer('application/vnd.example.sbom', 1)
    const index = indexOf([], { subject: descriptorOf(subject) })
    for (const manifest of [typed, index]) {
      const answer = await pushManifest(
        registry,
        { repository, reference: manifest.digest },
        manifest,
      )
      expect(answer.headers['oci-subject']).toBe(subject.digest)
    }
    const target = `/v2/${repository}/referrers/${subject.digest}`
    const { manifests } = await list(target)
    expect(manifests).toHaveLength(2)
    expect(manifests).toContainEqual({
      ...descriptorOf(typed),
      artifactType: 'application/vnd.example.sbom',
      annotations: { n: '1' },
    })
    expect(manifests).toContainEqual(descriptorOf(index))
    await send('DELETE', `/v2/${repository}/manifests/${typed.digest}`)
    expect((await list(target)).manifests).toEqual([descriptorOf(index)])
    await pushManifest(registry, { repository, reference: 's' }, subject)
    await send('DELETE', `/v2/${repository}/manifests/${subject.digest}`)
    expect((await list(target)).manifests).toHaveLength(1)
  })

  it('is filtered by artifactType, and says so', async () => {
    const repository = 'ref/filter'
    for (const [i, type] of ['a/x', 'a/y', 'a/x'].entries()) {
      const manifest = referrer(type, i)
      await pushManifest(registry, { repository, reference: manifest.digest }, manifest)
    }
    const { answer, manifests } = await list(
      `/v2/${repository}/referrers/${subject.digest}?artifactType=a%2Fx`,
    )
    expect(answer.headers['oci-filters-applied']).toBe('artifactType')
    expect(manifests).toHaveLength(2)
  })

  it('comes in pages', async () => {
    const repository = 'ref/pages'
    for (let i = 0; i < 7; i++) {
      const manifest = referrer(i % 2 === 0 ? 'a/x' : 'a/y', i)
      await pushManifest(registry, { repository, reference: manifest.digest }, manifest)
    }
    const target = `/v2/${repository}/referrers/${subject.digest}`
    const all = (await pages(`${target}?n=3`)).flatMap(page => JSON.parse(`${page.body}`).manifests)
    expect(all).toHaveLength(7)
    const some = (await pages(`${target}?n=2&artifactType=a/x`)).flatMap(
      page => JSON.parse(`${page.body}`).manifests,
    )
    expect(some).toHaveLength(4)
  })

  it('stays below what clients read, however large the annotations', async () => {
    const repository = 'ref/large'
    for (let i = 0; i < 6; i++) {
      const manifest = imageOf([], {
        subject: descriptorOf(subject),
        annotations: { a: 'x'.repeat(900_000), n: `${i}` },
      })
      await pushManifest(registry, { repository, reference: manifest.digest }, manifest)
    }
    const answers = await pages(`/v2/${repository}/referrers/${subject.digest}`)
    expect(answers.length).toBeGreaterThan(1)
    for (const answer of answers) expect(answer.body.length).toBeLessThan(4 * 1024 * 1024)
    expect(answers.flatMap(page => JSON.parse(`${page.body}`).manifests)).toHaveLength(6)
  })

  it('of another repository is not shown', async () => {
    const manifest = referrer('a/x', 99)
    await pushManifest(registry, { repository: 'ref/one', reference: manifest.digest }, manifest)
    expect((await list(`/v2/ref/two/referrers/${subject.digest}`)).manifests).toEqual([])
  })
})
