import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type BuildOptions, openWorkshop, type Workshop } from '../../support/build.ts'
import { commitFiles, git, makeRepository, openGitServer } from '../../support/git-server.ts'
import { describeWith } from '../../support/requires.ts'
import type { Answer, WebServer } from '../../support/web-server.ts'

describeWith(['root', 'busybox', 'git', 'gitLfs'], 'ADD of a repository with git-lfs (C29)', () => {
  const content = 'large '.repeat(1000)
  const oid = createHash('sha256').update(content).digest('hex')
  let shop: Workshop
  let root: string
  let web: WebServer
  let served = content

  beforeAll(async () => {
    shop = await openWorkshop()
    root = mkdtempSync(join(tmpdir(), 'tsbuild-lfs-'))
    const app = join(root, 'app')
    makeRepository(app, { plain: 'plain' })
    git(app, 'lfs', 'install', '--local')
    git(app, 'lfs', 'track', '*.bin')
    // Where the repository says that its files are counts for nothing.
    commitFiles(app, {
      'dir/a.bin': content,
      '.lfsconfig': '[lfs]\n\turl = http://127.0.0.1:1/elsewhere\n',
    })
    web = await openGitServer(root)
    const repositories = web.routes.get
    web.routes.get = path => answerOf(path) ?? repositories(path)
  })

  afterAll(async () => {
    await web[Symbol.asyncDispose]()
    rmSync(root, { recursive: true, force: true })
    await shop[Symbol.asyncDispose]()
  })

  /** The server's side of git-lfs: where objects are, and what they are. */
  function answerOf(path: string): Answer | undefined {
    if (path === '/app.git/info/lfs/objects/batch') {
      const actions = { download: { href: `${web.url}/objects/${oid}` } }
      const objects = [{ oid, size: content.length, actions }]
      const type = { 'content-type': 'application/vnd.git-lfs+json' }
      return (_, response) => response.writeHead(200, type).end(JSON.stringify({ objects }))
    }
    return path === `/objects/${oid}` ? (_, response) => response.end(served) : undefined
  }

  const build = (query: string, options?: BuildOptions) =>
    shop.build(`FROM scratch\nADD ${web.url}/app.git${query} /src`, options)
  const warnings = ({ events }: Awaited<ReturnType<typeof build>>) =>
    events.flatMap(event => (event.kind === 'warning' ? [event.message] : []))

  it('has the pointers, and says so, unless lfs=false says that they are meant', async () => {
    using built = await build('')
    expect(built.read('/src/dir/a.bin')).toMatch(/^version https:\/\/git-lfs/)
    expect(warnings(built).join()).toContain('has files in git-lfs')
    using meant = await build('?lfs=false')
    expect(meant.read('/src/dir/a.bin')).toContain(`oid sha256:${oid}`)
    expect(warnings(meant)).toEqual([])
  })

  it('has the files with lfs=true, as another step of the cache', async () => {
    using built = await build('?lfs=true')
    expect(built.read('/src/dir/a.bin')).toBe(content)
    expect(built.describe('/src/dir/a.bin')).toBe(`100644 0:0 ${content.length}`)
    expect(built.read('/src/plain')).toBe('plain')
    expect(warnings(built)).toEqual([])
    expect(built.worked).toHaveLength(1)
    expect(readdirSync(join(shop.store.root, 'tmp'))).toEqual([])
  })

  it('refuses other bytes than those of the pointer', async () => {
    served = content.replace('large', 'LARGE')
    await expect(build('?lfs=true', { rerun: 'all' })).rejects.toMatchObject({
      code: 'unavailable',
    })
    served = content
  })

  it('says in one sentence that there is no git-lfs', async () => {
    const bin = join(root, 'bin')
    mkdirSync(bin)
    writeFileSync(
      join(bin, 'git'),
      `#!/bin/sh\n[ "$1" = lfs ] && exit 1\nexec /usr/bin/git "$@"\n`,
      {
        mode: 0o755,
      },
    )
    const variables = { ...process.env, PATH: `${bin}:${process.env['PATH']}` }
    await expect(build('?lfs=true', { variables, rerun: 'all' })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('there is no program "git-lfs"'),
    })
  })
})
