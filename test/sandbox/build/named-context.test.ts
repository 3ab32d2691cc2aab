import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseBuildContexts } from '../../../src/cli/tsbuild/build-contexts.ts'
import { exportLayout } from '../../../src/layerfs/image/export-image.ts'
import { parseReference } from '../../../src/oci/reference.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { makeRepository, openGitServer } from '../../support/git-server.ts'
import { describeWith } from '../../support/requires.ts'
import { openWebServer, serve } from '../../support/web-server.ts'

describeWith(['root', 'busybox', 'git'], 'Named contexts', () => {
  let shop: Workshop
  let lib: string
  let layout: string
  let digest: string

  beforeAll(async () => {
    shop = await openWorkshop()
    shop.write({ 'main.txt': 'main' })
    lib = join(shop.directory, 'lib')
    mkdirSync(join(lib, 'sub'), { recursive: true })
    writeFileSync(join(lib, 'a.txt'), 'lib')
    writeFileSync(join(lib, 'skip.log'), 'log')
    writeFileSync(join(lib, 'sub/b.txt'), 'sub')
    writeFileSync(join(lib, '.dockerignore'), '*.log')
    symlinkSync('/etc/hostname', join(lib, 'out'))
    layout = join(shop.directory, 'layout')
    const record = await shop.store.images.get(parseReference('busybox'))
    if (record === undefined) throw new Error('no busybox')
    digest = record.target.digest
    const { content } = shop.store
    const reference = parseReference('busybox:v1')
    await exportLayout(layout, {
      images: [{ reference, target: record.target }],
      content,
      format: 'oci',
    })
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  const tmpOf = () => readdirSync(join(shop.store.root, 'tmp'))

  it('F11 F12 copies from a directory, without what its own .dockerignore names', async () => {
    using built = await shop.build(
      'FROM scratch\nCOPY --from=lib . /l/\nCOPY main.txt /\nCOPY --from=LIB --chown=3:4 sub/b.txt /b',
      { contexts: { lib }, ignore: '*.log\nlib' },
    )
    expect(built.read('/l/a.txt')).toBe('lib')
    expect(built.describe('/l/a.txt')).toBe('100644 0:0 3')
    expect(built.root.exists('/l/skip.log')).toBe(false)
    expect(built.read('/main.txt')).toBe('main')
    expect(built.describe('/b')).toBe('100644 3:4 3')
  })

  it('F11 runs a copy again when a file of the directory changes, and only then', async () => {
    const dockerfile = 'FROM scratch\nCOPY --from=lib a.txt /'
    const contexts = { lib }
    using first = await shop.build(dockerfile, { contexts })
    writeFileSync(join(lib, 'sub/b.txt'), 'changed')
    using again = await shop.build(dockerfile, { contexts })
    expect(again.worked).toEqual([])
    writeFileSync(join(lib, 'a.txt'), 'new')
    using changed = await shop.build(dockerfile, { contexts })
    expect(changed.read('/a.txt')).toBe('new')
    writeFileSync(join(lib, 'a.txt'), 'lib')
    using back = await shop.build(dockerfile, { contexts })
    expect(back.result.layers).toEqual(first.result.layers)
  })

  it('X09 leads no link of a named context outside', async () => {
    await expect(
      shop.build('FROM scratch\nCOPY --from=lib out /', { contexts: { lib } }),
    ).rejects.toMatchObject({
      message: expect.stringContaining('not found'),
      hint: expect.stringContaining('the build context "lib"'),
    })
  })

  it('F11 builds on a directory, which is one layer with one entry of history', async () => {
    using built = await shop.build('FROM lib AS base\nFROM base\nCOPY main.txt /', {
      contexts: { lib },
    })
    expect(built.read('/sub/b.txt')).toBe('changed')
    expect(built.root.exists('/skip.log')).toBe(false)
    expect(built.result.layers).toHaveLength(2)
    const { history } = built.result.config
    expect(history.filter(entry => entry.empty_layer !== true)).toHaveLength(2)
  })

  it('F11 puts a context in place of an image and of a stage', async () => {
    using image = await shop.build('FROM docker.io/library/alpine:latest\nCOPY main.txt /', {
      contexts: { alpine: lib },
    })
    expect(image.read('/a.txt')).toBe('lib')
    using stage = await shop.build(
      'FROM scratch AS made\nCOPY main.txt /\nFROM scratch\nCOPY --from=made a.txt /',
      { contexts: { made: lib } },
    )
    expect(stage.read('/a.txt')).toBe('lib')
  })

  it('F11 builds on and copies from an image under another name', async () => {
    using built = await shop.build(
      'FROM tools\nRUN echo ran > /ran\nCOPY --from=tools /bin/sh /s',
      {
        contexts: { tools: 'docker-image://busybox' },
      },
    )
    expect(built.read('/ran')).toBe('ran\n')
    expect(built.root.exists('/s')).toBe(true)
  })

  it('F11 builds on an image of an OCI layout, by tag, digest or because it is the only one', async () => {
    for (const version of ['', ':v1', `@${digest}`]) {
      using built = await shop.build('FROM tools\nRUN echo ran > /ran', {
        contexts: { tools: `oci-layout://${layout}${version}` },
      })
      expect(built.read('/ran')).toBe('ran\n')
    }
    await expect(
      shop.build('FROM tools', { contexts: { tools: `oci-layout://${layout}:v2` } }),
    ).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('Cannot find image'),
      hint: 'it has v1',
    })
    await expect(
      shop.build('FROM tools', { contexts: { tools: `oci-layout://${lib}` } }),
    ).rejects.toThrow('no OCI layout')
  })

  it('F11 copies from a repository and from an archive on the web, taken whole', async () => {
    const repositories = join(shop.directory, 'repositories')
    makeRepository(join(repositories, 'app'), { 'f.txt': 'git', '.dockerignore': '*' })
    const archive = execFileSync('tar', ['-czf', '-', '-C', lib, '.'])
    await using gits = await openGitServer(repositories)
    await using web = await openWebServer({ '/lib.tgz': serve(archive) })
    using built = await shop.build(
      'FROM scratch\nCOPY --from=app f.txt /\nCOPY --from=lib skip.log /\nFROM lib\n',
      { contexts: { app: `${gits.url}/app.git`, lib: `${web.url}/lib.tgz` }, target: '0' },
    )
    expect(built.read('/f.txt')).toBe('git')
    expect(built.read('/skip.log')).toBe('log')
    expect(tmpOf()).toEqual([])
  })

  it('F11 R16 mounts a directory and an image by their names', async () => {
    using built = await shop.build(
      'FROM busybox\nRUN --mount=from=lib,target=/l --mount=from=tools,target=/t cat /l/sub/b.txt > /b && ls /t/bin > /ls',
      { contexts: { lib, tools: 'docker-image://busybox' } },
    )
    expect(built.read('/b')).toBe('changed')
    expect(built.read('/ls')).toContain('sh\n')
  })

  it('F11 opens only contexts that the target reads', async () => {
    using built = await shop.build('FROM scratch\nCOPY main.txt /', {
      contexts: { unused: '/nowhere', far: 'https://192.0.2.1/x.tar' },
    })
    expect(built.read('/main.txt')).toBe('main')
    await expect(
      shop.build('FROM scratch\nCOPY --from=unused x /', { contexts: { unused: '/nowhere' } }),
    ).rejects.toMatchObject({
      message: expect.stringContaining('Build context "/nowhere" is not a directory'),
      excerpt: expect.stringContaining('>>> COPY --from=unused'),
    })
  })

  it('F11 refuses a file that is no archive, and leaves nothing of it', async () => {
    await using web = await openWebServer({ '/x': serve('FROM scratch') })
    await expect(
      shop.build('FROM scratch\nCOPY --from=x y /', { contexts: { x: `${web.url}/x` } }),
    ).rejects.toThrow('Cannot use build context "x": not an archive')
    expect(tmpOf()).toEqual([])
  })
})

it.each(['x', '=x', 'x=', 'scratch=.', 'context=.', 'x=-', 'x=docker-image://UP', 'x=target:y'])(
  'parseBuildContexts() refuses %j, quoting it',
  text => {
    expect(() => parseBuildContexts([text])).toThrow(`Cannot use flag --build-context "${text}"`)
  },
)
