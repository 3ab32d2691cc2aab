/** The commands that work on a folder, beside the server that has it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Compiled, compileSources } from '../../support/compiled.ts'
import { type Content, content, imageOf } from './contents.ts'
import { type ServedRegistry, serveRegistry } from './program.ts'

let compiled: Compiled
let root: string
let registry: ServedRegistry
beforeAll(async () => {
  compiled = compileSources()
  root = await mkdtemp(join(tmpdir(), 'tsregistry-tools-'))
  registry = await serveRegistry(compiled.dist, root, ['--gc-interval', '0'])
}, 60_000)
afterAll(async () => {
  await registry.stop('SIGTERM')
  compiled[Symbol.dispose]()
  await rm(root, { recursive: true, force: true })
})

async function run(...args: readonly string[]) {
  const program = join(compiled.dist, 'cli/tsregistry.js')
  const child = spawn(process.execPath, [program, ...args, '--root', root])
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

const send = (method: string, path: string, body?: Content) =>
  fetch(`http://127.0.0.1:${registry.port}/v2/${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { body: new Uint8Array(body.bytes), headers: { 'content-type': body.mediaType } }),
  })

async function push(name: string, tag: string, layers: readonly Content[]): Promise<Content> {
  for (const layer of layers) {
    await send('POST', `${name}/blobs/uploads/?digest=${layer.digest}`, layer)
  }
  const image = imageOf(layers, { annotations: { tag } })
  expect((await send('PUT', `${name}/manifests/${tag}`, image)).status).toBe(201)
  return image
}

describe('tsregistry garbage-collect', () => {
  it('says what it would do, does it, and asks for nothing that is needed', async () => {
    const [used, unused] = [content('used'), content('unused')]
    await push('gc', 'keep', [used])
    const gone = await push('gc', 'gone', [unused])
    await send('DELETE', `gc/manifests/${gone.digest}`)
    const args = ['garbage-collect', '--gc-grace', '0']
    const dry = await run(...args, '--dry-run')
    expect(dry.stdout).toMatch(`condemn link gc ${unused.digest}\n`)
    expect(dry.stdout).toMatch(/Would condemn 1/)
    await run(...args)
    expect((await run(...args)).stdout).toMatch(
      /Removed 0 tags, 0 manifests, 1 blobs, 0 uploads; 6B/,
    )
    expect((await send('GET', `gc/blobs/${unused.digest}`)).status).toBe(404)
    expect(await (await send('GET', `gc/blobs/${used.digest}`)).text()).toBe('used')
  })

  it('follows retention rules, and refuses those it does not understand', async () => {
    const rules = join(root, 'rules.json')
    await writeFile(
      rules,
      '{"rules":[{"repositories":["old"],"tags":[{"match":["*"],"keepLast":1}]}]}',
    )
    for (const tag of ['a', 'b']) await push('old', tag, [])
    const { stdout } = await run('garbage-collect', '--retention', rules)
    expect(stdout).toMatch(/^remove tag old a$/m)
    expect((await send('GET', 'old/manifests/b')).status).toBe(200)
    await writeFile(rules, '{"rulez":[]}')
    const refused = await run('garbage-collect', '--retention', rules)
    expect([refused.code, refused.stderr]).toEqual([125, expect.stringContaining('"rulez"')])
  })
})

describe('tsregistry tags', () => {
  it('shows the history of a tag, and sets it back', async () => {
    const first = await push('tags', 'x', [])
    const second = imageOf([], { annotations: { n: '2' } })
    await send('PUT', 'tags/manifests/x', second)
    expect((await run('tags', 'history', 'tags:x')).stdout).toMatch(
      new RegExp(`${first.digest} +${second.digest}\n.*\\(created\\) +${first.digest}`),
    )
    const refused = await run('tags', 'undo', 'tags:x', '--immutable-tags', '**:x')
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('immutable')])
    expect((await run('tags', 'undo', 'tags:x')).stdout).toBe(`tags:x is ${first.digest}\n`)
    const head = await send('HEAD', 'tags/manifests/x')
    expect(head.headers.get('docker-content-digest')).toBe(first.digest)
  })

  it.each([
    [['tags', 'history', 'x'], 125],
    [['tags', 'forget', 'a:b'], 125],
    [['tags', 'undo', 'none:x'], 1],
  ])('refuses %j', async (args, code) => {
    const answer = await run(...args)
    expect([answer.code, answer.stderr]).toEqual([code, expect.not.stringContaining('    at ')])
  })
})

describe('tsregistry robot', () => {
  it('makes a key that is shown once, lists it without, and revokes it', async () => {
    const made = await run('robot', 'create', 'ci', '--expires', '1h', '--group', 'builders')
    expect([made.code, made.stdout]).toEqual([0, expect.stringMatching(/^tsr_[\w-]{43}\n$/)])
    const again = await run('robot', 'create', 'ci')
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('there is one')])
    const listed = await run('robot', 'list')
    expect(listed.stdout).toMatch(/^robot\+ci +builders +20/m)
    expect(listed.stdout).not.toContain('tsr_')
    expect((await run('robot', 'revoke', 'ci')).stdout).toBe('robot+ci is revoked\n')
    expect((await run('robot', 'revoke', 'ci')).code).toBe(1)
    expect((await run('robot', 'list')).stdout).not.toContain('robot+ci')
  })

  it.each([
    [['robot', 'create']],
    [['robot', 'list', 'x']],
    [['robot', 'forget', 'x']],
    [['robot', 'create', '../x']],
    [['robot', 'create', 'A']],
  ])('refuses %j', async args => {
    const answer = await run(...args)
    expect([answer.code, answer.stderr]).toEqual([125, expect.not.stringContaining('    at ')])
  })
})

describe('tsregistry scrub', () => {
  it('finds damaged bytes, and nothing after they were pushed again', async () => {
    const layer = content('a layer that will be cut')
    await push('scrub', 'x', [layer])
    expect((await run('scrub')).code).toBe(0)
    const days = join(root, 'objects/d')
    for (const day of await readdir(days)) {
      for (const name of await readdir(join(days, day))) await truncate(join(days, day, name), 2)
    }
    const found = await run('scrub')
    expect([found.code, found.stdout]).toEqual([1, expect.stringContaining(layer.digest)])
    expect((await send('HEAD', `scrub/blobs/${layer.digest}`)).status).toBe(404)
    await push('scrub', 'x', [layer])
    expect((await send('GET', `scrub/blobs/${layer.digest}`)).status).toBe(200)
  })

  it.each(['101%', 'half', '-1'])('refuses --sample %s', async sample => {
    expect((await run('scrub', `--sample=${sample}`)).code).toBe(125)
  })
})
