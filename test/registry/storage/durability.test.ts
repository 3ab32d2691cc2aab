/**
 * What the kernel was asked to do before a push was acknowledged: every file synced before it got
 * its name, every directory that names something new synced after, all before the answer.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { compileSources } from '../../support/compiled.ts'
import { content, imageOf } from '../server/contents.ts'

const traced = 'rename,link,mkdir,fsync,fdatasync,write,writev'
const canTrace = spawnSync('strace', ['-e', 'trace=none', 'true']).status === 0

interface Call {
  readonly at: number
  readonly name: string
  /** Paths, those of descriptors included, in order. */
  readonly paths: readonly string[]
  readonly text: string
}

/** One file per thread, so that no call is split in two lines. */
async function callsOf(folder: string): Promise<Call[]> {
  const calls: Call[] = []
  for (const file of await readdir(folder)) {
    for (const line of (await readFile(join(folder, file), 'utf8')).split('\n')) {
      const [, at, name, text = ''] = /^([0-9.]+) (\w+)\((.*)\) = [0-9]+/.exec(line) ?? []
      if (at === undefined || name === undefined) continue
      const paths = [...text.matchAll(/"(\/[^"]*)"|<(\/[^>]*)>/g)].map(([, a, b]) => a ?? b ?? '')
      calls.push({ at: Number(at), name, paths, text })
    }
  }
  return calls.sort((a, b) => a.at - b.at)
}

/** Sessions of uploads, the history of tags, the lease: losing them costs a retry, or one entry. */
function mayBeLost(path: string): boolean {
  return /\/objects\/(?:u|g|r\/.*\/_th\/.*)\/[^/]+$/.test(path)
}

/** The catalog: files without bytes, of which the name is all. */
function isEmpty(path: string): boolean {
  return /\/objects\/c\/[^/]+$/.test(path)
}

/** Names that were given and not synced by the time of the answer. */
function unsynced(calls: readonly Call[]): string[] {
  const found: string[] = []
  for (const [i, { name, paths }] of calls.entries()) {
    const before = calls.slice(0, i)
    const after = calls.slice(i + 1)
    const isSynced = (among: readonly Call[], path: string) =>
      among.some(call => /^f(?:data)?sync$/.test(call.name) && call.paths[0] === path)
    const [from = '', to = ''] = name === 'mkdir' ? ['', paths[0]] : paths
    if (!['rename', 'link', 'mkdir'].includes(name) || mayBeLost(to)) continue
    if (name !== 'mkdir' && !isEmpty(to) && !isSynced(before, from))
      found.push(`${name} of unsynced ${to}`)
    if (!isSynced(after, dirname(to))) found.push(`${name} ${to} in unsynced directory`)
  }
  return found
}

describe.skipIf(!canTrace)('tsregistry serve (skipped where strace is not allowed)', () => {
  it('syncs all that a push made before it answers 201', { timeout: 60_000 }, async () => {
    using compiled = compileSources()
    const folder = await mkdtemp(join(tmpdir(), 'tsregistry-trace-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const trace = join(folder, 'trace')
    spawnSync('mkdir', [trace])
    const root = join(folder, 'root')
    const program = [process.execPath, join(compiled.dist, 'cli/tsregistry.js'), 'serve']
    const child = spawn(
      'strace',
      [
        ...[
          '-f',
          '-ff',
          '-y',
          '-ttt',
          '-s',
          '200',
          '-e',
          `trace=${traced}`,
          '-o',
          join(trace, 't'),
        ],
        ...[...program, '--addr', '127.0.0.1:0', '--root', root],
      ],
      { stdio: ['ignore', 'pipe', 'ignore'], detached: true },
    )
    const [line] = await once(child.stdout, 'data')
    const port = /:([0-9]+),/.exec(String(line))?.[1]
    const layer = content('a layer')
    const manifest = imageOf([layer], {
      subject: { mediaType: 'a/b', digest: content('s').digest, size: 1 },
    })
    const pushes = [
      ['POST', `/v2/a/b/blobs/uploads/?digest=${layer.digest}`, layer],
      ['PUT', '/v2/a/b/manifests/x', manifest],
    ] as const
    for (const [method, path, { bytes, mediaType }] of pushes) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: { 'content-type': mediaType },
        body: new Uint8Array(bytes),
      })
      expect(answer.status).toBe(201)
    }
    process.kill(-(child.pid ?? 0), 'SIGTERM')
    await once(child, 'exit')
    const calls = await callsOf(trace)
    const answers = calls.filter(call => call.text.includes('HTTP/1.1 201'))
    expect(answers).toHaveLength(2)
    const start = calls.findIndex(call => call.text.includes('Listening on'))
    const inRoot = (call: Call) => call.paths.some(path => path.startsWith(root))
    for (const [i, answer] of answers.entries()) {
      const from = i === 0 ? start : calls.indexOf(answers[i - 1]!)
      const made = calls.slice(from + 1, calls.indexOf(answer)).filter(inRoot)
      expect(made.length).toBeGreaterThan(10)
      expect(unsynced(made)).toEqual([])
    }
    const data = calls.filter(
      call => call.name === 'fsync' && /\/objects\/d\/[^/]*\/[^/>]*>/.test(call.text),
    )
    expect(data).toHaveLength(1)
  })
})
