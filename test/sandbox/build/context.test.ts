import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type ContextDirectory,
  fetchDockerfile,
  maxDockerfile,
  openContextDirectory,
} from '../../../src/builder/sources/context-directory.ts'
import { parseContextName } from '../../../src/builder/sources/context-name.ts'
import { assertContext, readDockerfile } from '../../../src/cli/tsbuild/dockerfile-input.ts'
import { openStore, type Store } from '../../../src/layerfs/store.ts'
import { createRegistryClient, type RegistryClient } from '../../../src/registry/client/client.ts'
import { git, makeRepository, openGitServer } from '../../support/git-server.ts'
import { describeWith } from '../../support/requires.ts'
import { openWebServer, serve } from '../../support/web-server.ts'

describeWith(['root', 'git'], 'Build contexts', () => {
  let root: string
  let store: Store
  let client: RegistryClient
  let app: string

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'tsbuild-context-'))
    store = await openStore(join(root, 'store'))
    client = createRegistryClient({ userAgent: 'tsbuild/test' })
    app = join(root, 'app')
    makeRepository(app, {
      Dockerfile: 'FROM scratch',
      'docker/Dockerfile': 'FROM other',
      '.dockerignore': '*',
    })
    symlinkSync('/etc/passwd', join(app, 'escape'))
    symlinkSync('/etc', join(app, 'etc'))
    git(app, 'add', '--all')
    git(app, 'commit', '--quiet', '--message', 'links')
  })

  afterAll(async () => {
    await client[Symbol.asyncDispose]()
    rmSync(root, { recursive: true, force: true })
  })

  interface Given {
    readonly stdin?: Uint8Array
    readonly keepGitDir?: boolean
    readonly signal?: AbortSignal
  }

  const worldOf = (given: Given) => ({
    store,
    client,
    secrets: async () => undefined,
    variables: process.env,
    emit: () => {},
    stdin: () => Readable.from(given.stdin === undefined ? [] : [given.stdin]),
    keepGitDir: given.keepGitDir ?? false,
    signal: given.signal ?? new AbortController().signal,
  })
  const open = (text: string, given: Given = {}): Promise<ContextDirectory> =>
    openContextDirectory(parseContextName(text), worldOf(given))
  const dockerfileIn = (text: string, context: ContextDirectory, file?: string) =>
    readDockerfile({
      contextName: parseContextName(text),
      context,
      file,
      stdin: () => Readable.from(['FROM stdin']),
      fetch: url => fetchDockerfile(url, worldOf({})),
    })
  const pack = (flags: string, ...more: readonly string[]) =>
    execFileSync('tar', [`-${flags}f`, '-', '-C', app, ...more, '--exclude=.git', '.'])
  const tmpOf = () => readdirSync(join(store.root, 'tmp'))

  it.each(['c', 'cz', 'cj', 'cJ'])('X02 unpacks a tar on standard input (tar -%s)', async flags => {
    await using context = await open('-', { stdin: pack(flags) })
    expect(readFileSync(join(context.path, 'docker/Dockerfile'), 'utf8')).toBe('FROM other')
    const { text, ignore } = await dockerfileIn('-', context)
    expect({ text, ignore }).toEqual({ text: 'FROM scratch', ignore: '' })
    expect((await dockerfileIn('-', context, 'docker/Dockerfile')).text).toBe('FROM other')
  })

  it('X02 takes anything else on standard input for a Dockerfile, with an empty context', async () => {
    await using context = await open('-', { stdin: Buffer.from('FROM busybox\n') })
    expect(readdirSync(context.path)).toEqual([])
    expect((await dockerfileIn('-', context)).text).toBe('FROM busybox\n')
    await expect(dockerfileIn('-', context, 'Dockerfile')).rejects.toThrow('ambiguous Dockerfile')
  })

  it('X02 does not read standard input twice', () => {
    expect(() => assertContext({ kind: 'stdin' }, '-')).toThrow(
      "can't use stdin for both build context and dockerfile",
    )
  })

  it('X02 refuses a compressed file that is no tar, and a tar that breaks off; nothing is left', async () => {
    const gzip = execFileSync('gzip', ['-c'], { input: 'FROM scratch' })
    await expect(open('-', { stdin: gzip })).rejects.toThrow('no tar archive inside')
    const tar = pack('c')
    await expect(open('-', { stdin: tar.subarray(0, 600) })).rejects.toMatchObject({
      code: 'invalid',
    })
    expect(tmpOf()).toEqual([])
  })

  it('X02 keeps what a tar holds inside the context', async () => {
    const evil = join(root, 'evil')
    mkdirSync(evil)
    writeFileSync(join(evil, 'f'), 'evil')
    const tar = execFileSync('tar', ['-Pcf', '-', '-C', evil, '--transform=s,^f$,../../out,', 'f'])
    await using context = await open('-', { stdin: tar })
    expect(readdirSync(context.path)).toEqual(['out'])
  })

  it('X02 checks out a repository over HTTP and file://, at a ref, in a directory', async () => {
    await using web = await openGitServer(root)
    for (const remote of [`${web.url}/app.git`, `file://${app}/.git`]) {
      await using whole = await open(remote)
      expect(readdirSync(whole.path)).not.toContain('.git')
      expect(await dockerfileIn(remote, whole)).toEqual({
        name: 'Dockerfile',
        text: 'FROM scratch',
        ignore: '',
      })
      await using part = await open(`${remote}#main:docker`)
      expect((await dockerfileIn(remote, part)).text).toBe('FROM other')
    }
    await using kept = await open(`file://${app}/.git`, { keepGitDir: true })
    expect(readdirSync(kept.path)).toContain('.git')
    await expect(open(`file://${app}/.git#main:etc`)).rejects.toThrow('no such directory')
    await expect(open(`file://${app}/.git#-x`)).rejects.toThrow('Cannot use git ref "-x"')
  })

  it('X02 reads no Dockerfile through a link that leaves the context', async () => {
    await using context = await open(`file://${app}/.git`)
    for (const file of ['escape', '../../../../etc/passwd', 'etc/passwd']) {
      await expect(dockerfileIn('https://h/a.git', context, file)).rejects.toThrow(
        `failed to read dockerfile: open ${file}: no such file or directory`,
      )
    }
  })

  it('X01 takes the Dockerfile from standard input, with a context from elsewhere', async () => {
    await using context = await open(`file://${app}/.git`)
    const found = await dockerfileIn('https://h/a.git', context, '-')
    expect(found).toEqual({ name: 'Dockerfile', text: 'FROM stdin', ignore: '' })
  })

  it('X02 fetches an archive or a Dockerfile from a URL, and asks for it conditionally', async () => {
    await using web = await openWebServer({
      '/app.tgz': serve(pack('cz'), { etag: '"1"' }),
      '/Dockerfile': serve('FROM remote'),
    })
    for (let count = 0; count < 2; count++) {
      await using context = await open(`${web.url}/app.tgz`)
      expect((await dockerfileIn('http://h', context)).text).toBe('FROM scratch')
    }
    expect(web.requests.at(-1)?.headers['if-none-match']).toBe('"1"')
    await using single = await open(`${web.url}/Dockerfile`)
    expect((await dockerfileIn('http://h', single)).text).toBe('FROM remote')
    await expect(open(`${web.url}/none`)).rejects.toThrow('invalid response status 404')
    expect(tmpOf()).toHaveLength(1)
  })

  it('X07 applies no .dockerignore to a context from elsewhere, as it does to a directory', async () => {
    await using web = await openWebServer({ '/app.tgz': serve(pack('cz')) })
    for (const text of [`file://${app}/.git`, `${web.url}/app.tgz`, '-']) {
      await using context = await open(text, { stdin: pack('c') })
      expect(readdirSync(context.path)).toEqual(expect.arrayContaining(['.dockerignore', 'docker']))
      expect((await dockerfileIn(text, context)).ignore).toBe('')
    }
    const local = { path: app, [Symbol.asyncDispose]: async () => {} }
    expect((await dockerfileIn(app, local)).ignore).toBe('*')
  })

  it('X01 takes the Dockerfile from a URL, with any context, of which the ignore file counts', async () => {
    await using web = await openWebServer({
      '/some/Dockerfile.prod': serve('FROM remote', { etag: '"1"' }),
      '/long': serve(Buffer.alloc(maxDockerfile + 1, '#')),
    })
    const file = `${web.url}/some/Dockerfile.prod?x=1`
    const local = { path: app, [Symbol.asyncDispose]: async () => {} }
    const remote = { name: 'Dockerfile', text: 'FROM remote' }
    expect(await dockerfileIn(app, local, file)).toEqual({ ...remote, ignore: '*' })
    await using checkout = await open(`file://${app}/.git`)
    expect(await dockerfileIn('https://h/a.git', checkout, file)).toEqual({ ...remote, ignore: '' })
    expect(web.requests.at(-1)?.headers['if-none-match']).toBe('"1"')
    await expect(dockerfileIn(app, local, `${web.url}/none`)).rejects.toThrow(
      'invalid response status 404',
    )
    await expect(dockerfileIn(app, local, `${web.url}/long`)).rejects.toMatchObject({
      code: 'too-large',
    })
  })

  it('X01 takes an absolute path for a file of this machine, also with a context from elsewhere', async () => {
    const own = join(root, 'Own')
    writeFileSync(own, 'FROM own')
    await using checkout = await open(`file://${app}/.git`)
    const found = await dockerfileIn('https://h/a.git', checkout, own)
    expect(found).toMatchObject({ name: 'Own', text: 'FROM own', ignore: '' })
    expect((await dockerfileIn('https://h/a.git', checkout, 'docker/Dockerfile')).text).toBe(
      'FROM other',
    )
  })

  it('X01 X03 finds Dockerfile, dockerfile and the ignore file that wins', async () => {
    const local = join(root, 'local')
    mkdirSync(local)
    const context = { path: local, [Symbol.asyncDispose]: async () => {} }
    await expect(dockerfileIn('.', context)).rejects.toThrow('failed to read dockerfile: open')
    writeFileSync(join(local, 'dockerfile'), 'FROM lower')
    writeFileSync(join(local, '.dockerignore'), 'common')
    expect(await dockerfileIn('.', context)).toEqual({
      name: 'dockerfile',
      path: relative('.', join(local, 'dockerfile')),
      text: 'FROM lower',
      ignore: 'common',
    })
    writeFileSync(join(local, 'Dockerfile'), 'FROM upper')
    expect((await dockerfileIn('.', context)).text).toBe('FROM upper')
    const outside = join(root, 'Other')
    writeFileSync(outside, 'FROM outside')
    expect((await dockerfileIn('.', context, outside)).ignore).toBe('common')
    writeFileSync(`${outside}.dockerignore`, 'own')
    expect(await dockerfileIn('.', context, outside)).toEqual({
      name: 'Other',
      path: relative('.', outside),
      text: 'FROM outside',
      ignore: 'own',
    })
    expect((await dockerfileIn('.', context, '-')).ignore).toBe('common')
  })

  it('ends waiting for standard input when it is aborted', async () => {
    const abort = new AbortController()
    const never = new Readable({ read: () => {} })
    const opening = openContextDirectory(
      { kind: 'stdin' },
      {
        ...{ store, client, stdin: () => never, keepGitDir: false, signal: abort.signal },
        ...{ secrets: async () => undefined, variables: {}, emit: () => {} },
      },
    )
    abort.abort(new Error('enough'))
    await expect(opening).rejects.toThrow()
    expect(tmpOf()).toEqual([])
  })
})
