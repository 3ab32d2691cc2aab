import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'
import { openWebServer, redirectTo, serve, type WebServer } from '../../support/web-server.ts'

describeWith(['root', 'busybox'], 'ADD of a URL', () => {
  let shop: Workshop
  let web: WebServer

  beforeAll(async () => {
    shop = await openWorkshop()
    web = await openWebServer()
  })

  afterAll(async () => {
    await web[Symbol.asyncDispose]()
    await shop[Symbol.asyncDispose]()
  })

  const hex = (algorithm: string, text: string) => createHash(algorithm).update(text).digest('hex')
  const blobs = async () => {
    const found: string[] = []
    for await (const { digest } of shop.store.content.list()) found.push(digest)
    return found
  }

  it('C26 writes a file of mode 0600 that belongs to root and has the time of Last-Modified', async () => {
    web.routes.set('/d/f.txt', serve('text', { 'last-modified': 'Sun, 09 Sep 2001 01:46:40 GMT' }))
    using built = await shop.build(`FROM scratch\nADD ${web.url}/d/f.txt?x=1#y /to/`)
    expect(built.read('/to/f.txt')).toBe('text')
    expect(built.describe('/to/f.txt')).toBe('100600 0:0 4')
    expect(built.root.stat('/to/f.txt', 'keep').mtime.seconds).toBe(1_000_000_000)
  })

  it('C26 gives the epoch to a file whose server says no time', async () => {
    web.routes.set('/untimed', serve('x'))
    using built = await shop.build(`FROM scratch\nADD ${web.url}/untimed /f`)
    expect(built.root.stat('/f', 'keep').mtime.seconds).toBe(0)
  })

  it('C26 names a file without name __unnamed__, and decodes the others', async () => {
    web.routes.set('/', serve('root'))
    web.routes.set('/a%20b', serve('space'))
    using built = await shop.build(`FROM scratch\nADD ${web.url}/ ${web.url}/a%20b /to/`)
    expect(built.read('/to/__unnamed__')).toBe('root')
    expect(built.read('/to/a b')).toBe('space')
  })

  it('C26 gives --chown and --chmod their due', async () => {
    web.routes.set('/tool', serve('#!'))
    using built = await shop.build(
      `FROM busybox\nADD --chown=nobody --chmod=755 ${web.url}/tool /usr/bin/`,
    )
    expect(built.describe('/usr/bin/tool')).toBe('100755 65534:65534 2')
  })

  it('C30 takes a file, a URL and a heredoc in one ADD', async () => {
    shop.write({ 'local.txt': 'local' })
    web.routes.set('/remote.txt', serve('remote'))
    using built = await shop.build(
      `FROM scratch\nADD local.txt ${web.url}/remote.txt <<inline.txt /all/\ninline\ninline.txt\n`,
    )
    expect(built.read('/all/local.txt')).toBe('local')
    expect(built.read('/all/remote.txt')).toBe('remote')
    expect(built.read('/all/inline.txt')).toBe('inline\n')
  })

  it('C26 refuses a status of failure, naming it, at the line', async () => {
    await expect(shop.build(`FROM scratch\nADD ${web.url}/nothere /f`)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('invalid response status 404'),
      excerpt: expect.stringContaining('>>> ADD http'),
    })
  })

  it('C26 K06 asks again, and neither downloads nor runs anything while the server says 304', async () => {
    web.routes.set('/cached', serve('one', { etag: '"1"' }))
    const dockerfile = `FROM scratch\nADD ${web.url}/cached /f`
    using first = await shop.build(dockerfile)
    expect(first.worked).toHaveLength(1)
    const before = web.requests.length
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    const asked = web.requests.slice(before)
    expect(asked.map(({ headers }) => headers['if-none-match'])).toEqual(['"1"'])
    web.routes.set('/cached', serve('two', { etag: '"2"' }))
    using changed = await shop.build(dockerfile)
    expect(changed.read('/f')).toBe('two')
    expect(changed.misses).toEqual([expect.stringContaining('/cached changed: sha256:')])
  })

  it('K06 finds the step again when a server without validators sends the same bytes', async () => {
    web.routes.set('/plain', serve('same'))
    using first = await shop.build(`FROM scratch\nADD ${web.url}/plain /f`)
    using again = await shop.build(`FROM scratch\nADD ${web.url}/plain /f`)
    expect(first.worked).toHaveLength(1)
    expect(again.worked).toEqual([])
  })

  it('K06 needs no blob for a cached step, and downloads it again for a new one', async () => {
    web.routes.set('/gone', serve('bytes', { etag: '"b"' }))
    using first = await shop.build(`FROM scratch\nADD ${web.url}/gone /f`)
    const digest = `sha256:${hex('sha256', 'bytes')}`
    for await (const blob of shop.store.content.list()) {
      if (blob.digest === digest) await shop.store.content.remove(blob.digest)
    }
    using again = await shop.build(`FROM scratch\nADD ${web.url}/gone /f`)
    expect(again.result.layers).toEqual(first.result.layers)
    expect(await blobs()).not.toContain(digest)
    using other = await shop.build(`FROM scratch\nADD ${web.url}/gone /other`)
    expect(other.read('/other')).toBe('bytes')
  })

  it('C27 accepts sha256, sha384 and sha512 checksums, and then asks nobody for a cached step', async () => {
    web.routes.set('/sum', serve('sum'))
    for (const algorithm of ['sha256', 'sha384', 'sha512']) {
      const dockerfile = `FROM scratch\nADD --checksum=${algorithm}:${hex(algorithm, 'sum')} ${web.url}/sum /f`
      using built = await shop.build(dockerfile)
      expect(built.read('/f')).toBe('sum')
      const before = web.requests.length
      using again = await shop.build(dockerfile)
      expect(again.worked).toEqual([])
      expect(web.requests.length).toBe(before)
    }
  })

  it('C27 refuses other bytes than the checksum says, and keeps nothing of them', async () => {
    web.routes.set('/evil', serve('evil bytes'))
    const before = await blobs()
    await expect(
      shop.build(`FROM scratch\nADD --checksum=sha256:${hex('sha256', 'good')} ${web.url}/evil /f`),
    ).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining(
        `digest mismatch for ${web.url}/evil: sha256:${hex('sha256', 'evil bytes')} (expected: sha256:${hex('sha256', 'good')})`,
      ),
    })
    expect(await blobs()).toEqual(before)
  })

  it('C27 does not take earlier bytes of the URL for what a checksum asks', async () => {
    web.routes.set('/moving', serve('old', { etag: '"same"' }))
    using first = await shop.build(`FROM scratch\nADD ${web.url}/moving /f`)
    expect(first.read('/f')).toBe('old')
    web.routes.set('/moving', serve('new', { etag: '"other"' }))
    using pinned = await shop.build(
      `FROM scratch\nADD --checksum=sha512:${hex('sha512', 'new')} ${web.url}/moving /f`,
    )
    expect(pinned.read('/f')).toBe('new')
  })

  it('C28 sends the secret of the host, and does not send it where a redirect leads', async () => {
    await using other = await openWebServer({ '/x': serve('elsewhere') })
    web.routes.set('/away', redirectTo(`${other.url}/x`))
    web.routes.set('/home', redirectTo('/end'))
    web.routes.set('/end', serve('home'))
    const secrets = { [`HTTP_AUTH_TOKEN_${web.host}`]: 'token\n' }
    using built = await shop.build(
      `FROM scratch\nADD ${web.url}/away /away\nADD ${web.url}/home /home`,
      { secrets },
    )
    expect(built.read('/away')).toBe('elsewhere')
    expect(built.read('/home')).toBe('home')
    const sent = (server: WebServer, path: string) =>
      server.requests.filter(({ url }) => url === path).map(({ headers }) => headers.authorization)
    expect(sent(web, '/away')).toEqual(['Bearer token'])
    expect(sent(web, '/end')).toEqual(['Bearer token'])
    expect(sent(other, '/x')).toEqual([undefined])
  })

  it('C28 prefers a whole header, and refuses one that would smuggle in another', async () => {
    web.routes.set('/head', serve('x'))
    const header = `HTTP_AUTH_HEADER_${web.host}`
    using built = await shop.build(`FROM scratch\nADD ${web.url}/head /f`, {
      secrets: { [header]: 'Basic abc', [`HTTP_AUTH_TOKEN_${web.host}`]: 'no' },
    })
    expect(built.root.exists('/f')).toBe(true)
    expect(web.requests.at(-1)?.headers.authorization).toBe('Basic abc')
    await expect(
      shop.build(`FROM scratch\nADD ${web.url}/head?2 /f`, {
        secrets: { [header]: 'a\r\nX-Evil: b' },
      }),
    ).rejects.toThrow('control characters')
  })

  it('refuses redirects without end, and those to other schemes', async () => {
    web.routes.set('/loop', redirectTo('/loop'))
    web.routes.set('/file', redirectTo('file:///etc/passwd'))
    await expect(shop.build(`FROM scratch\nADD ${web.url}/loop /f`)).rejects.toThrow('redirects')
    await expect(shop.build(`FROM scratch\nADD ${web.url}/file /f`)).rejects.toThrow(
      'refusing to go from http: to file:',
    )
  })

  it('keeps nothing of a body that ends before its Content-Length', async () => {
    web.routes.set('/short', (_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('only this')
      setTimeout(() => response.destroy(), 20)
    })
    const before = await blobs()
    await expect(shop.build(`FROM scratch\nADD ${web.url}/short /f`)).rejects.toMatchObject({
      code: 'unavailable',
    })
    expect(await blobs()).toEqual(before)
  })

  it('ends a body without end when the build is aborted, and keeps nothing', async () => {
    const abort = new AbortController()
    web.routes.set('/endless', (_, response) => {
      const chunk = Buffer.alloc(64 * 1024)
      const more = () => {
        while (!response.destroyed && response.write(chunk));
      }
      response.on('drain', more)
      more()
      setTimeout(() => abort.abort(new Error('enough')), 200)
    })
    const before = await blobs()
    await expect(
      shop.build(`FROM scratch\nADD ${web.url}/endless /f`, { signal: abort.signal }),
    ).rejects.toThrow('enough')
    expect(await blobs()).toEqual(before)
  })

  it('tries a server again that is busy', async () => {
    let count = 0
    web.routes.set('/busy', (request, response) => {
      count++
      if (count === 1) response.writeHead(503).end()
      else serve('at last')(request, response)
    })
    using built = await shop.build(`FROM scratch\nADD ${web.url}/busy /f`)
    expect(built.read('/f')).toBe('at last')
  })

  it('C24 leaves archives from a URL packed, unless --unpack says otherwise', async () => {
    const tree = join(shop.directory, 'tree')
    mkdirSync(join(tree, 'sub'), { recursive: true })
    writeFileSync(join(tree, 'sub/file'), 'inside')
    execFileSync('tar', ['-czf', join(shop.directory, 'a.tgz'), '-C', tree, '.'])
    web.routes.set('/a.tgz', serve(readFileSync(join(shop.directory, 'a.tgz'))))
    web.routes.set('/no.tgz', serve('not an archive'))
    using built = await shop.build(
      `FROM scratch\nADD ${web.url}/a.tgz /packed/\nADD --unpack=true ${web.url}/a.tgz /open\nADD --unpack=true ${web.url}/no.tgz /plain/`,
    )
    expect(built.root.exists('/packed/a.tgz')).toBe(true)
    expect(built.read('/open/sub/file')).toBe('inside')
    expect(built.read('/plain/no.tgz')).toBe('not an archive')
  })

  it('C24 keeps the paths of an unpacked archive below the destination', async () => {
    const tree = join(shop.directory, 'hostile')
    mkdirSync(tree)
    writeFileSync(join(tree, 'f'), 'escaped')
    const pack = (name: string) => {
      const archive = join(shop.directory, 'evil.tar')
      execFileSync('tar', ['-Pcf', archive, '-C', tree, `--transform=s,^f$,${name},`, 'f'])
      web.routes.set('/evil.tar', serve(readFileSync(archive)))
    }
    for (const name of ['../../../outside', '/outside']) {
      pack(name)
      using built = await shop.build(
        `FROM busybox\nADD --unpack=true ${web.url}/evil.tar /in/side/`,
      )
      expect(built.root.exists('/outside')).toBe(false)
      expect(built.read('/in/side/outside')).toBe('escaped')
    }
  })
})
