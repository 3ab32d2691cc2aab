import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, expect, it, test } from 'vitest'
import { openContextDirectory } from '../../../src/builder/sources/context-directory.ts'
import { parseContextName } from '../../../src/builder/sources/context-name.ts'
import { createRegistryClient } from '../../../src/registry/client/client.ts'
import { type BuildOptions, openWorkshop, type Workshop } from '../../support/build.ts'
import { makeRepository, openGitServer } from '../../support/git-server.ts'
import { describeWith } from '../../support/requires.ts'
import { openWebServer, serve, type WebServer } from '../../support/web-server.ts'

const body = 'FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL epoch=$SOURCE_DATE_EPOCH\n'

describeWith(['root', 'busybox', 'git'], 'SOURCE_DATE_EPOCH (A09)', () => {
  let shop: Workshop
  let root: string
  let web: WebServer
  let repositories: WebServer

  beforeAll(async () => {
    shop = await openWorkshop()
    root = mkdtempSync(join(tmpdir(), 'tsbuild-epoch-'))
    makeRepository(join(root, 'app'), { 'dir/file': 'text', Dockerfile: 'FROM scratch' })
    mkdirSync(join(root, 'files/d'), { recursive: true })
    writeFileSync(join(root, 'files/d/f'), 'x')
    utimesSync(join(root, 'files/d/f'), 1_600_000_000, 1_600_000_000)
    utimesSync(join(root, 'files/d'), 1_650_000_000, 1_650_000_000)
    const tar = execFileSync('tar', ['-C', join(root, 'files'), '-czf', '-', 'd'])
    const dated = { 'last-modified': 'Mon, 02 Jan 2023 00:00:00 GMT' }
    web = await openWebServer({
      '/a.tgz': serve(tar),
      '/dated.tgz': serve(tar, dated),
      '/plain': serve('text'),
    })
    repositories = await openGitServer(root)
  })

  afterAll(async () => {
    await repositories[Symbol.asyncDispose]()
    await web[Symbol.asyncDispose]()
    rmSync(root, { recursive: true, force: true })
    await shop[Symbol.asyncDispose]()
  })

  /** What the image says: when it was made at the latest, and what a stage saw. */
  const epochOf = async (dockerfile: string, options: BuildOptions = {}) => {
    using built = await shop.build(dockerfile, options)
    const { latest, config } = built.result
    return [latest?.getTime(), config.config.Labels?.['epoch']]
  }
  const at = (seconds: number) => [seconds * 1000, String(seconds)]
  const none = [undefined, '']

  it('is a default of the Dockerfile, which --build-arg replaces and an empty one takes back', async () => {
    const dockerfile = `ARG A=17\nARG SOURCE_DATE_EPOCH=\${A}00000000\n${body}`
    expect(await epochOf(dockerfile)).toEqual(at(1_700_000_000))
    const given = (text: string) => ({ buildArgs: { SOURCE_DATE_EPOCH: text } })
    expect(await epochOf(dockerfile, given('5'))).toEqual(at(5))
    expect(await epochOf(dockerfile, given('-5'))).toEqual(at(-5))
    expect(await epochOf(dockerfile, given(''))).toEqual(none)
    expect(await epochOf(body)).toEqual(none)
    expect(await epochOf(body.replace('EPOCH\n', 'EPOCH=7\n'))).toEqual([undefined, '7'])
  })

  it('is missed where an output needs it', async () => {
    await expect(shop.build(body, { needsEpoch: true })).rejects.toThrow(
      'rewrite-timestamp=true needs SOURCE_DATE_EPOCH',
    )
    const dockerfile = `ARG SOURCE_DATE_EPOCH=5\n${body}`
    expect(await epochOf(dockerfile, { needsEpoch: true })).toEqual(at(5))
  })

  it('is nothing for a context of this machine', async () => {
    expect(await epochOf(`ARG SOURCE_DATE_EPOCH=context\n${body}`)).toEqual(none)
    expect(await epochOf(body, { buildArgs: { SOURCE_DATE_EPOCH: 'context' } })).toEqual(none)
    const options = { contexts: { here: root } }
    expect(await epochOf(`ARG SOURCE_DATE_EPOCH=here\n${body}`, options)).toEqual(none)
  })

  it('is the time of what a stage adds: Last-Modified, the newest file of an archive, a commit', async () => {
    const stage = (from: string) =>
      `ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nARG V=a\n${from}\n${body}`
    expect(await epochOf(stage(`ADD ${web.url}/dated.tgz /`))).toEqual(at(1_672_617_600))
    expect(await epochOf(stage(`ADD ${web.url}/\${V}.tgz /`))).toEqual(at(1_600_000_000))
    expect(await epochOf(stage(`ADD ${web.url}/plain /`))).toEqual(none)
    expect(await epochOf(stage(`ADD ${repositories.url}/app.git /`))).toEqual(at(1_000_000_000))
  })

  it('is the time of a named context from elsewhere', async () => {
    const dockerfile = `ARG SOURCE_DATE_EPOCH=src\n${body}`
    const named = (url: string) => ({ contexts: { src: url } })
    expect(await epochOf(dockerfile, named(`${web.url}/a.tgz`))).toEqual(at(1_600_000_000))
    const commit = await epochOf(dockerfile, named(`${repositories.url}/app.git`))
    expect(commit).toEqual(at(1_000_000_000))
  })

  it.each([
    ['RUN x', 'does not meet source-only requirements: unsupported RUN instruction'],
    ['COPY a /', 'does not meet source-only requirements: unsupported COPY instruction'],
    ['', 'must contain exactly one remote ADD'],
    ['ADD URL /\nADD URL /', 'must contain exactly one remote ADD'],
    ['ADD URL URL /', 'must contain exactly one remote ADD source'],
    ['ADD file /', 'source must be a single HTTP(S) or Git ADD'],
  ])('refuses a stage of more than one ADD from elsewhere: %j', async (lines, said) => {
    const text = lines.replaceAll('URL', `${web.url}/plain`)
    const dockerfile = `ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\n${text}\n${body}`
    await expect(shop.build(dockerfile)).rejects.toThrow(`SOURCE_DATE_EPOCH stage ${said}`)
  })

  it('refuses what is no time, and a stage on an image', async () => {
    for (const text of ['foo', '1.5', '123456789012', 'SRC']) {
      const built = shop.build(`ARG SOURCE_DATE_EPOCH=${text}\nFROM scratch AS src\n${body}`)
      await expect(built).rejects.toThrow(`invalid SOURCE_DATE_EPOCH: ${text}`)
    }
    const onImage = `ARG SOURCE_DATE_EPOCH=src\nFROM busybox AS src\nADD ${web.url}/plain /\n${body}`
    await expect(shop.build(onImage)).rejects.toThrow(
      'SOURCE_DATE_EPOCH stage must use FROM scratch',
    )
  })

  test('a context that is a repository has the time of its commit, and its files if they are to', async () => {
    await using client = createRegistryClient({ userAgent: 'tsbuild/test' })
    const open = (text: string, commitTimes: boolean) =>
      openContextDirectory(parseContextName(text), {
        ...{ store: shop.store, client, variables: process.env, keepGitDir: false, commitTimes },
        secrets: async () => undefined,
        emit: () => {},
        stdin: () => Readable.from([]),
        signal: new AbortController().signal,
      })
    const commit = 1_000_000_000
    for (const [query, commitTimes, isCommit] of [
      ['', true, true],
      ['', false, false],
      ['?mtime=commit', false, true],
      ['?mtime=checkout', true, false],
    ] as const) {
      await using context = await open(`${repositories.url}/app.git${query}`, commitTimes)
      expect(await context.time?.()).toBe(commit)
      for (const path of ['dir/file', 'dir', '.']) {
        expect(lstatSync(join(context.path, path)).mtimeMs === commit * 1000).toBe(isCommit)
      }
    }
    await using archive = await open(`${web.url}/a.tgz`, true)
    expect(await archive.time?.()).toBe(1_600_000_000)
    await using local = await open(root, true)
    expect(local.time).toBeUndefined()
  })
})
