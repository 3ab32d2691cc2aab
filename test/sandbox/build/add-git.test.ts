import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { commitFiles, git, makeRepository, openGitServer } from '../../support/git-server.ts'
import { describeWith } from '../../support/requires.ts'
import { openWebServer, redirectTo, type WebServer } from '../../support/web-server.ts'

describeWith(['root', 'busybox', 'git'], 'ADD of a git repository', () => {
  let shop: Workshop
  let root: string
  let web: WebServer
  let first: string
  let second: string

  beforeAll(async () => {
    shop = await openWorkshop()
    root = mkdtempSync(join(tmpdir(), 'tsbuild-git-'))
    const app = join(root, 'app')
    first = makeRepository(app, { 'f.txt': 'one', 'sub/deep.txt': 'deep' })
    git(app, 'tag', '--annotate', '-m', 'v1', 'v1')
    chmodSync(join(app, 'f.txt'), 0o755)
    symlinkSync('f.txt', join(app, 'link'))
    symlinkSync('/etc', join(app, 'etc'))
    second = commitFiles(app, { 'f.txt': 'two' })
    git(app, 'branch', 'dev', first)
    web = await openGitServer(root)
  })

  afterAll(async () => {
    await web[Symbol.asyncDispose]()
    rmSync(root, { recursive: true, force: true })
    await shop[Symbol.asyncDispose]()
  })

  const tmpOf = () => readdirSync(join(shop.store.root, 'tmp'))

  it('C29 adds the files of the default branch, 644 and 755 and owned by root, without .git', async () => {
    const umask = process.umask(0o077)
    try {
      using built = await shop.build(`FROM scratch\nADD ${web.url}/app.git /src`)
      expect(built.read('/src/f.txt')).toBe('two')
      expect(built.describe('/src/f.txt')).toBe('100755 0:0 3')
      expect(built.describe('/src/sub/deep.txt')).toBe('100644 0:0 4')
      expect(built.describe('/src/sub')).toBe('40755 0:0')
      expect(built.describe('/src/link')).toBe('120777 0:0 5')
      expect(built.root.exists('/src/.git')).toBe(false)
    } finally {
      process.umask(umask)
    }
    expect(tmpOf()).toEqual([])
  })

  it('C29 takes branches, annotated tags and commits, and a directory of them', async () => {
    for (const ref of ['dev', 'v1', first, 'refs/tags/v1', 'heads/dev']) {
      using built = await shop.build(`FROM scratch\nADD ${web.url}/app.git#${ref}:sub /src/`)
      expect(built.read('/src/deep.txt')).toBe('deep')
      expect(built.root.exists('/src/f.txt')).toBe(false)
    }
  })

  it('C29 takes the same as a query', async () => {
    using built = await shop.build(
      `FROM scratch\nADD ${web.url}/app.git?branch=dev&subdir=sub&checksum=${first.slice(0, 12)} /src/`,
    )
    expect(built.read('/src/deep.txt')).toBe('deep')
  })

  it('C29 gives --chown, --chmod and --exclude their due, and the time of the commit with mtime', async () => {
    using built = await shop.build(
      `FROM scratch\nADD --chown=7:8 --chmod=600 --exclude=sub ${web.url}/app.git?mtime=commit /src`,
    )
    expect(built.describe('/src/f.txt')).toBe('100600 7:8 3')
    expect(built.root.exists('/src/sub')).toBe(false)
    expect(built.root.stat('/src/f.txt', 'keep').mtime.seconds).toBe(1_000_000_000)
  })

  it('C29 keeps .git when it is told to, without the password of the URL', async () => {
    const url = `http://user:hunter2@${web.host}/app.git`
    using built = await shop.build(`FROM scratch\nADD --keep-git-dir=true ${url} /src`)
    expect(built.read('/src/.git/HEAD')).toBe(`${second}\n`)
    expect(built.read('/src/.git/config')).toContain(`http://${web.host}/app.git`)
    expect(built.read('/src/.git/config')).not.toContain('hunter2')
  })

  it('K06 runs nothing again until the branch moves', async () => {
    const moving = join(root, 'moving')
    makeRepository(moving, { f: '1' })
    const dockerfile = `FROM scratch\nADD ${web.url}/moving.git /src`
    using one = await shop.build(dockerfile)
    expect(one.worked).toHaveLength(1)
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
    expect(again.events.some(({ kind }) => kind === 'started')).toBe(true)
    commitFiles(moving, { f: '2' })
    using changed = await shop.build(dockerfile)
    expect(changed.read('/src/f')).toBe('2')
  })

  it('C27 accepts the commit it was told to expect, and refuses another', async () => {
    using built = await shop.build(
      `FROM scratch\nADD --checksum=${second} ${web.url}/app.git#main /src`,
    )
    expect(built.read('/src/f.txt')).toBe('two')
    await expect(
      shop.build(`FROM scratch\nADD --checksum=${first} ${web.url}/app.git#main /src`),
    ).rejects.toMatchObject({
      code: 'digest-mismatch',
      message: expect.stringContaining(`expected checksum to match ${first}, got ${second}`),
    })
    expect(tmpOf()).toEqual([])
  })

  it('C29 fetches everything from a server that gives out no single commits', async () => {
    const app = join(root, 'app', '.git')
    git(app, 'update-server-info')
    await using dumb = await openWebServer()
    dumb.routes.get = path => (_, response) => {
      try {
        response.end(readFileSync(join(app, path.replace('/app.git', ''))))
      } catch {
        response.writeHead(404).end()
      }
    }
    using built = await shop.build(`FROM scratch\nADD ${dumb.url}/app.git#dev /src`)
    expect(built.read('/src/f.txt')).toBe('one')
  })

  it('C29 says which ref a repository lacks, and that there is no repository', async () => {
    await expect(shop.build(`FROM scratch\nADD ${web.url}/app.git#nope /s`)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('repository does not contain ref nope'),
      excerpt: expect.stringContaining('>>> ADD http'),
    })
    await expect(shop.build(`FROM scratch\nADD ${web.url}/none.git /s`)).rejects.toThrow(
      /Cannot read git repository .*not found/,
    )
    const missing = 'f'.repeat(40)
    await expect(shop.build(`FROM scratch\nADD ${web.url}/app.git#${missing} /s`)).rejects.toThrow(
      'Cannot read git repository',
    )
  })

  it('C29 says in one sentence that there is no git', async () => {
    await expect(
      shop.build(`FROM scratch\nADD ${web.url}/app.git#v1 /s`, { variables: { PATH: '/nowhere' } }),
    ).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('there is no program "git"'),
      hint: expect.stringContaining('apt-get install git'),
    })
  })

  it('C28 sends a token to its host, and never along with a redirect', async () => {
    const seen: (string | undefined)[] = []
    await using guarded = await openGitServer(root)
    const plain = guarded.routes.get
    guarded.routes.get = path => {
      const answer = plain(path)
      return (request, response) => {
        seen.push(request.headers.authorization)
        if (request.headers.authorization === undefined) response.writeHead(401).end()
        else answer?.(request, response)
      }
    }
    const secrets = { [`GIT_AUTH_TOKEN.${guarded.host}`]: 'secret' }
    using built = await shop.build(`FROM scratch\nADD ${guarded.url}/app.git /src`, { secrets })
    expect(built.read('/src/f.txt')).toBe('two')
    const expected = `basic ${Buffer.from('x-access-token:secret').toString('base64')}`
    expect(new Set(seen)).toEqual(new Set([expected]))

    await using thief = await openGitServer(root)
    await using redirecting = await openWebServer()
    redirecting.routes.get = path => redirectTo(`${thief.url}${path}?service=git-upload-pack`)
    await expect(
      shop.build(`FROM scratch\nADD ${redirecting.url}/app.git /src`, {
        secrets: { GIT_AUTH_TOKEN: 'secret' },
      }),
    ).rejects.toThrow('Cannot read git repository')
    expect(thief.requests).toEqual([])
    using anonymous = await shop.build(`FROM scratch\nADD ${redirecting.url}/app.git /other`)
    expect(anonymous.read('/other/f.txt')).toBe('two')
  })

  it('C29 checks out submodules, also those given relative to the repository', async () => {
    makeRepository(join(root, 'library'), { 'lib.txt': 'lib' })
    const parent = join(root, 'parent')
    makeRepository(parent, { f: 'x' })
    git(parent, 'submodule', '--quiet', 'add', join(root, 'library'), 'lib')
    writeFileSync(
      join(parent, '.gitmodules'),
      '[submodule "lib"]\n\tpath = lib\n\turl = ../library.git\n',
    )
    commitFiles(parent, {})
    using built = await shop.build(`FROM scratch\nADD ${web.url}/parent.git /src`)
    expect(built.read('/src/lib/lib.txt')).toBe('lib')
    expect(built.root.exists('/src/lib/.git')).toBe(false)
    using without = await shop.build(
      `FROM scratch\nADD ${web.url}/parent.git?submodules=false /src`,
    )
    expect(without.root.exists('/src/lib/lib.txt')).toBe(false)
  })

  it('refuses a submodule that is a repository of this machine', async () => {
    makeRepository(join(root, 'private'), { secret: 'x' })
    for (const [name, url] of [
      ['by-scheme', `file://${join(root, 'private')}`],
      ['by-path', join(root, 'private')],
      ['by-ext', 'ext::sh -c touch% /tmp/tsbuild-git-owned'],
    ] as const) {
      const parent = join(root, name)
      makeRepository(parent, { f: 'x' })
      git(parent, 'submodule', '--quiet', 'add', join(root, 'private'), 'lib')
      writeFileSync(
        join(parent, '.gitmodules'),
        `[submodule "lib"]\n\tpath = lib\n\turl = ${url}\n`,
      )
      commitFiles(parent, {})
      await expect(shop.build(`FROM scratch\nADD ${web.url}/${name}.git /src`)).rejects.toThrow(
        'Cannot read git repository',
      )
    }
  })

  it('refuses refs that would be options, and runs no hook of the machine', async () => {
    await expect(
      shop.build(`FROM scratch\nADD ${web.url}/app.git#--upload-pack=touch /s`),
    ).rejects.toThrow('Cannot use git ref "--upload-pack=touch"')
    const home = join(root, 'home')
    const hooks = join(home, 'hooks')
    mkdirSync(hooks, { recursive: true })
    writeFileSync(join(hooks, 'post-checkout'), `#!/bin/sh\ntouch ${home}/ran\n`)
    chmodSync(join(hooks, 'post-checkout'), 0o755)
    writeFileSync(join(home, '.gitconfig'), `[core]\n\thooksPath = ${hooks}\n`)
    using built = await shop.build(`FROM scratch\nADD ${web.url}/app.git#v1 /hooked`, {
      variables: { ...process.env, HOME: home, GIT_CONFIG_GLOBAL: join(home, '.gitconfig') },
    })
    expect(built.root.exists('/hooked/f.txt')).toBe(true)
    expect(readdirSync(home)).not.toContain('ran')
  })

  it('C28 offers no key of the user for what a Dockerfile names, and speaks through no prompt', async () => {
    const bin = join(root, 'bin')
    mkdirSync(bin)
    writeFileSync(
      join(bin, 'ssh'),
      `#!/bin/sh\necho "$@" > ${bin}/args; env > ${bin}/env; exit 1\n`,
    )
    chmodSync(join(bin, 'ssh'), 0o755)
    const { PATH } = process.env
    const variables = {
      PATH: `${bin}:${PATH}`,
      SSH_AUTH_SOCK: '/agent',
      SSH_ASKPASS: '/ask',
      GIT_DIR: '/evil',
      TOKEN: 'private',
    }
    await expect(
      shop.build('FROM scratch\nADD git@example.com:a/b.git /s', { variables }),
    ).rejects.toThrow('Cannot read git repository "git@example.com:a/b.git"')
    const args = readFileSync(join(bin, 'args'), 'utf8')
    expect(args).toContain('-o BatchMode=yes')
    expect(args).toContain('-F none -o IdentityFile=none -o IdentityAgent=none')
    const env = readFileSync(join(bin, 'env'), 'utf8')
    expect(env).not.toMatch(/SSH_AUTH_SOCK|SSH_ASKPASS|GIT_DIR|TOKEN/)
    for (const remote of ['ssh://-oProxyCommand=x/y', '-x@example.com:y']) {
      await expect(shop.build(`FROM scratch\nADD ${remote} /s`, { variables })).rejects.toThrow()
    }
  })

  it('keeps a subdirectory inside the repository, whatever .. and links say', async () => {
    using built = await shop.build(`FROM scratch\nADD ${web.url}/app.git#main:../../../sub /s/`)
    expect(built.read('/s/deep.txt')).toBe('deep')
    for (const subdir of ['etc', 'link', 'nothere']) {
      await expect(
        shop.build(`FROM scratch\nADD ${web.url}/app.git#main:${subdir} /s/`),
      ).rejects.toThrow(`Cannot use "${subdir}" of the repository: no such directory`)
    }
    expect(tmpOf()).toEqual([])
  })

  it('ends git when the build is aborted, and removes what it had', async () => {
    const abort = new AbortController()
    await using silent = await openWebServer()
    silent.routes.get = () => () => setTimeout(() => abort.abort(new Error('enough')), 100)
    await expect(
      shop.build(`FROM scratch\nADD ${silent.url}/app.git /s`, { signal: abort.signal }),
    ).rejects.toThrow('enough')
    expect(tmpOf()).toEqual([])
  })
})
