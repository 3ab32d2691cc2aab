/** Which repositories are whose, who may ask for them, and what clients may do with them. */
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { mediaTypes } from '../../../../src/oci/media-type.ts'
import { LoginNeeded } from '../../../../src/registry/server/access/access.ts'
import { sendJson } from '../../client/local-server.ts'
import { content, descriptorOf, imageOf, indexOf, pushBlob, pushManifest } from '../contents.ts'
import { putImage, startThrough, startUpstream } from './through.ts'

const layer = content(randomBytes(1000))

describe('several upstreams', () => {
  test('have the repositories below their prefixes, the longest first; the rest is ours', async () => {
    await using one = await startUpstream()
    await using other = await startUpstream()
    const upstreams = [
      { prefix: 'hub', url: one.url },
      { prefix: 'hub/team', url: `${other.url}/deep/` },
    ]
    await using registry = await startThrough({ upstreams })
    putImage(one, 'v1', [layer])
    putImage(other, 'v1', [layer])
    await registry.send('GET', '/v2/hub/app/manifests/v1')
    await registry.send('GET', '/v2/hub/team/app/manifests/v1')
    expect((await registry.send('GET', '/v2/hubbub/app/manifests/v1')).status).toBe(404)
    expect((await registry.send('GET', '/v2/hub/manifests/v1')).status).toBe(404)
    expect(one.requests()).toEqual(['GET /v2/app/manifests/v1'])
    expect(other.requests()).toEqual(['GET /v2/deep/app/manifests/v1'])
    const pushed = await pushBlob(registry, 'ours/app', layer)
    expect(pushed.status).toBe(201)
  })

  test('for everything is one with no prefix, where others have theirs', async () => {
    await using all = await startUpstream()
    await using some = await startUpstream()
    const upstreams = [
      { prefix: '', url: all.url },
      { prefix: 'some', url: some.url },
    ]
    await using registry = await startThrough({ upstreams })
    putImage(all, 'v1', [layer])
    putImage(some, 'v1', [layer])
    for (const name of ['app', 'library/app', 'some/app']) {
      expect((await registry.send('GET', `/v2/${name}/manifests/v1`)).status).toBe(200)
    }
    expect(all.requests()).toEqual(['GET /v2/app/manifests/v1', 'GET /v2/library/app/manifests/v1'])
    expect(some.requests()).toEqual(['GET /v2/app/manifests/v1'])
  })
})

describe('a request with ns, as containerd sends it to mirrors', () => {
  test('means the repository of that registry, and is told so', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    const image = putImage(upstream, 'v1', [layer])
    const answer = await registry.send('GET', `/v2/app/manifests/v1?ns=${upstream.host}`)
    expect(answer.body.equals(image.bytes)).toBe(true)
    expect(answer.headers['oci-namespace']).toBe(upstream.host)
    const blob = `/v2/app/blobs/${layer.digest}?ns=${upstream.host}`
    expect((await registry.send('GET', blob)).status).toBe(200)
    expect((await registry.send('GET', '/v2/up/app/manifests/v1')).status).toBe(200)
  })

  test('of a registry that is no upstream gets nothing of another, and chooses no host', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url, prefix: '' })
    putImage(upstream, 'v1', [layer])
    for (const ns of ['evil.example', '169.254.169.254', 'localhost:22', '%0d%0aX: y', '']) {
      const answer = await registry.send(
        'GET',
        `/v2/app/manifests/v1?ns=${ns.replaceAll(' ', '+')}`,
      )
      expect(answer.status).toBe(404)
    }
    expect(upstream.requests()).toEqual([])
  })

  test('leaves our own repositories ours', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    await pushBlob(registry, 'ours', layer)
    const answer = await registry.send('GET', `/v2/ours/blobs/${layer.digest}?ns=our.example`)
    expect(answer.status).toBe(200)
  })
})

describe('a client', () => {
  test.for([
    ['POST', 'blobs/uploads/'],
    ['POST', `blobs/uploads/?digest=${layer.digest}`],
    ['POST', `blobs/uploads/?mount=${layer.digest}&from=ours`],
    ['PUT', 'manifests/v1'],
    ['PUT', `manifests/${layer.digest}?tag=v1`],
    ['POST', '_tsregistry/tags/v1/undo'],
  ] as const)('cannot %s %s: it is told where to push', async ([method, path]) => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    await pushBlob(registry, 'ours', layer)
    const answer = await registry.send(method, `/v2/up/app/${path}`, { body: '{}' })
    expect(answer.status).toBe(405)
    expect(answer.json().errors[0]).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(`push to "${upstream.host}" itself`),
    })
    expect(upstream.requests()).toEqual([])
  })

  test('mounts what was copied into a repository of ours', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    upstream.put(layer)
    await registry.send('GET', `/v2/up/app/blobs/${layer.digest}`)
    const mount = `/v2/ours/blobs/uploads/?mount=${layer.digest}&from=up/app`
    expect((await registry.send('POST', mount)).status).toBe(201)
  })

  test('forgets a copy by deleting it, and gets it anew', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url, tagTtlMs: 60_000 })
    const image = putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    const deleted = await registry.send('DELETE', `/v2/up/app/manifests/${image.digest}`)
    expect(deleted.status).toBe(202)
    upstream.requests()
    const answer = await registry.send('GET', '/v2/up/app/manifests/v1')
    expect(answer.body.equals(image.bytes)).toBe(true)
    expect(upstream.requests()).toEqual(['GET /v2/app/manifests/v1'])
  })

  test('that may not pull makes us ask nobody, whether there is something or not', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({
      url: upstream.url,
      access: {
        admit: async (_, { repository }) => {
          if (repository === 'up/app') throw new LoginNeeded('Cannot', 'Basic realm="r"')
          return { may: () => true }
        },
        issueToken: async () => undefined,
      },
    })
    putImage(upstream, 'v1', [layer])
    const image = ['manifests/v1', 'manifests/none', `blobs/${layer.digest}`, 'tags/list']
    for (const path of [...image, `referrers/${layer.digest}`]) {
      const answer = await registry.send('GET', `/v2/up/app/${path}`)
      expect(answer.status).toBe(401)
      const mirrored = await registry.send('GET', `/v2/app/${path}?ns=${upstream.host}`)
      expect(mirrored.status).toBe(401)
    }
    expect(upstream.requests()).toEqual([])
  })
})

describe('the list of tags', () => {
  test('is the upstream’s, page by page, and names our repository', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    upstream.fault = (request, response) => {
      const isFirst = !request.url?.includes('cursor')
      const next = isFirst
        ? { link: '<https://evil.example/v2/app/tags/list?n=2&cursor=x>; rel="next"' }
        : {}
      response.writeHead(200, { 'content-type': 'application/json', ...next })
      const tags = isFirst ? ['a', 'b', 5, 'no tag\n'] : ['c']
      response.end(JSON.stringify({ name: 'app', tags }))
      return true
    }
    const first = await registry.send('GET', '/v2/up/app/tags/list?n=2')
    expect(JSON.parse(first.body.toString())).toEqual({ name: 'up/app', tags: ['a', 'b'] })
    const next = /^<(.*)>; rel="next"$/.exec(first.headers.link ?? '')?.[1] ?? ''
    expect(next).toBe('/v2/up/app/tags/list?n=2&cursor=x')
    const second = await registry.send('GET', next)
    expect(JSON.parse(second.body.toString())).toEqual({ name: 'up/app', tags: ['c'] })
    expect(second.headers.link).toBe(undefined)
    expect(upstream.requests()).toEqual([
      'GET /v2/app/tags/list?n=2',
      'GET /v2/app/tags/list?n=2&cursor=x',
    ])
  })

  test('has the copies when the upstream is away, and is asked for once in the time of tags', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url, tagTtlMs: 60_000 })
    putImage(upstream, 'v1', [layer])
    await registry.send('GET', '/v2/up/app/manifests/v1')
    upstream.fault = (_, response) => Boolean(response.writeHead(503).end())
    const stale = await registry.send('GET', '/v2/up/app/tags/list')
    expect(JSON.parse(stale.body.toString()).tags).toEqual(['v1'])
    expect((await registry.send('GET', '/v2/up/other/tags/list')).status).toBe(503)
    upstream.fault = (_, response) => {
      sendJson(response, 200, { name: 'app', tags: ['v1', 'v2'] })
      return true
    }
    upstream.requests()
    for (let time = 0; time < 2; time++) {
      const list = await registry.send('GET', '/v2/up/app/tags/list')
      expect(JSON.parse(list.body.toString()).tags).toEqual(['v1', 'v2'])
    }
    expect(upstream.requests()).toHaveLength(1)
  })

  test('of a repository that the upstream has not is unknown', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    const answer = await registry.send('GET', '/v2/up/none/tags/list')
    expect([answer.status, answer.json().errors[0]?.code]).toEqual([404, 'NAME_UNKNOWN'])
  })
})

describe('the list of referrers', () => {
  const subject = imageOf([layer])
  const signature = imageOf([], { subject: descriptorOf(subject), artifactType: 'a/signature' })
  const described = { ...descriptorOf(signature), artifactType: 'a/signature' }
  const target = `/v2/up/app/referrers/${subject.digest}`
  const manifestsOf = async (answering: Promise<{ body: Buffer }>) =>
    JSON.parse((await answering).body.toString()).manifests

  test('is that of the upstream', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    upstream.fault = (request, response) => {
      if (!request.url?.includes('/referrers/')) return false
      sendJson(response, 200, { manifests: [described, { digest: 'none' }, 5] })
      return true
    }
    expect(await manifestsOf(registry.send('GET', target))).toEqual([described])
    const filtered = `${target}?artifactType=a%2Fother`
    expect(await manifestsOf(registry.send('GET', filtered))).toEqual([])
  })

  test('is the index under the tag of the digest, where the upstream has no such lists', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    expect(await manifestsOf(registry.send('GET', target))).toEqual([])
    upstream.put(indexOf([signature]), subject.digest.replace(':', '-'))
    expect(await manifestsOf(registry.send('GET', target))).toEqual([descriptorOf(signature)])
  })

  test('is that of the copies, when the upstream is away', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    upstream.put(signature, 'signature')
    await registry.send('GET', '/v2/up/app/manifests/signature')
    upstream.fault = (_, response) => Boolean(response.destroy())
    const answer = await registry.send('GET', target)
    expect(answer.headers['content-type']).toBe(mediaTypes.index)
    expect(JSON.parse(answer.body.toString()).manifests).toMatchObject([described])
  })
})

describe('the tags of our own repositories', () => {
  test('are set and read as ever beside an upstream', async () => {
    await using upstream = await startUpstream()
    await using registry = await startThrough({ url: upstream.url })
    const image = indexOf([])
    const at = { repository: 'ours', reference: 'v1' }
    expect((await pushManifest(registry, at, image)).status).toBe(201)
    const answer = await registry.send('GET', '/v2/ours/manifests/v1')
    expect(answer.body.equals(image.bytes)).toBe(true)
    expect(upstream.requests()).toEqual([])
  })
})
