/**
 * What checks, outlines and lists of targets say, as BuildKit 0.33 said it of the same Dockerfiles:
 * the JSON of its subrequests is in fixtures/dockerfile/called, or the text. All are based on
 * scratch but for one, on an image for another machine.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BaseImageWorld } from '../../src/builder/base-images.ts'
import type { BuildRequest } from '../../src/builder/build-request.ts'
import { lintRules } from '../../src/builder/dockerfile/lint-rule.ts'
import { type Asked, runCall } from '../../src/cli/tsbuild/call/run-call.ts'
import { importRootfs } from '../../src/layerfs/image/import-rootfs.ts'
import { openStore, type Store } from '../../src/layerfs/store.ts'
import { endOfArchive } from '../../src/layerfs/tar/writer.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { createRegistryClient } from '../../src/registry/client/client.ts'

const folder = join(import.meta.dirname, '../../fixtures/dockerfile/called')
const methods: readonly (readonly [string, Asked])[] = [
  ['lint', 'check'],
  ['outline', 'outline'],
  ['targets', 'targets'],
]
const answers = readdirSync(folder).flatMap(name =>
  methods
    .map(([request, method]) => ({ name, method, file: join(folder, name, `${request}.json`) }))
    .filter(({ file }) => existsSync(file)),
)

const texts = readdirSync(folder)
  .map(name => ({ name, file: join(folder, name, 'lint.txt') }))
  .filter(({ file }) => existsSync(file))
  .map(({ name, file }) => ({ name, text: readFileSync(file, 'utf8') }))

describe('--call', () => {
  let directory: string
  let store: Store
  const client = createRegistryClient({ userAgent: 'tsbuild/test' })
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-called-'))
    store = await openStore(join(directory, 'store'))
    const config = { architecture: 'arm64', variant: 'v8', os: 'linux', config: {} }
    const target = await importRootfs(emptyTar(), config, store.content)
    await store.images.set({ reference: parseReference('armbase'), target })
  })
  afterAll(async () => {
    await client[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })

  test.each(answers)('$method of $name says what BuildKit says', async ({ name, method, file }) => {
    const call = { method, format: 'json', ignoreStatus: false } as const
    const { text } = await runCall(call, requestOf(name), world())
    expect(inOrder(text)).toEqual(inOrder(readFileSync(file, 'utf8')))
  })

  test.each(texts)('the text of a check of $name is BuildKit’s, below a headline', async each => {
    const call = { method: 'check', format: 'text', ignoreStatus: false } as const
    const { text } = await runCall(call, requestOf(each.name), world())
    const [, headline, body] = /^(Check complete, \d+ warnings? ha.*\n)([\s\S]*)$/.exec(text) ?? []
    expect(headline).toBeDefined()
    expect(body?.split(/(?=\nWARNING)/).sort()).toEqual(each.text.split(/(?=\nWARNING)/).sort())
  })

  test('its checks tell of every rule', () => {
    const inJson = answers
      .filter(({ method }) => method === 'check')
      .flatMap(({ file }) => JSON.parse(readFileSync(file, 'utf8')).warnings ?? [])
    const inText = texts.flatMap(({ text }) => text.match(/(?<=^WARNING: )\w+/gm) ?? [])
    const names = new Set([...inText, ...inJson.map(({ ruleName }) => ruleName)])
    expect(Object.keys(lintRules).filter(name => !names.has(name))).toEqual([])
  })

  function world(): BaseImageWorld {
    const { signal } = new AbortController()
    return { store, client, contexts: new Map(), pull: 'missing', emit: () => {}, signal }
  }
})

async function* emptyTar(): AsyncGenerator<Buffer> {
  yield endOfArchive()
}

interface Told {
  readonly warnings?: readonly { readonly ruleName: string; readonly location: object }[] | null
}

/** Its warnings by line: BuildKit tells them in the order in which it came upon them. */
function inOrder(text: string): object {
  const told: Told = JSON.parse(text)
  const warnings = told.warnings ?? []
  return { ...told, warnings: warnings.map(warning => JSON.stringify(warning)).sort() }
}

function requestOf(name: string): BuildRequest {
  const platform = parsePlatform('linux/amd64')
  const ignore = join(folder, name, '.dockerignore')
  return {
    dockerfile: {
      name: 'Dockerfile',
      text: readFileSync(join(folder, name, 'Dockerfile'), 'utf8'),
    },
    context: join(folder, name),
    ignore: existsSync(ignore) ? readFileSync(ignore, 'utf8') : '',
    plan: {
      buildArgs: new Map([['T', 'scratch']]),
      buildPlatform: platform,
      targetPlatform: platform,
      isMultiPlatform: false,
      allowed: new Set(),
      runArgs: 'declared',
      namedContexts: new Set(),
    },
    labels: new Map(),
    rerun: [],
  }
}
