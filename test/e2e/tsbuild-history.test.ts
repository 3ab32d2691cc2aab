/** `why`, `logs` and `history`: what a store tells about builds that were. */
import { existsSync, readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkspace, type Store, type Workspace } from './workspace.ts'

let work: Workspace
let store: Store

beforeAll(async () => {
  work = await openWorkspace('history')
  store = await work.storeWithBusybox('store')
})

afterAll(() => work.close())

const dockerfile = 'FROM busybox\nCOPY src /src\nRUN cat /src/a; echo done\n'
const context = (files: Record<string, string>) => work.write('context', files)
const why = async (...args: string[]) => (await store.tsbuild(['why', ...args])).stdout

test('K01 why tells of each step of the last build whether it ran, and which file is the reason', async () => {
  const directory = context({ Dockerfile: dockerfile, 'src/a': 'one\n', 'src/b': 'b' })
  await store.tsbuild(['build', directory])
  expect(await why()).toMatch(/Steps: 1 cached|Steps: .*2 ran/)
  await store.tsbuild(['build', directory])
  expect(await why()).toContain('Steps: 2 cached')
  context({ 'src/a': 'two\n' })
  const { stderr } = await store.tsbuild(['build', '--progress', 'plain', directory])
  expect(stderr).toMatch(/^#\d+ not cached: src\/a: content$/m)
  expect(stderr).toMatch(/^#\d+ not cached: \[2\/3\] COPY src \/src changed: src\/a: content$/m)
  const told = await why()
  expect(told).toMatch(/#\d+ RAN \d+\.\ds \[2\/3\] COPY src \/src\n {6}src\/a: content\n/)
  expect(await why(':2')).toContain('src/a: content')
  expect(await why('cat /src')).toContain(
    'it began in [2/3] COPY src /src:\n        src/a: content',
  )
})

test('why speaks JSON, one object for each step', async () => {
  const lines = (await why('--format', 'json'))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(lines.at(-2)).toMatchObject({
    stage: '0',
    lines: [2, 2],
    outcome: 'worked',
    miss: { causes: [{ kind: 'file', subject: 'src/a', changes: [{ what: 'content' }] }], more: 0 },
  })
})

test('logs prints all that a step wrote, more than any progress shows, and raw bytes', async () => {
  const big = 'i=0; while [ $i -lt 40000 ]; do echo "line $i of the log"; i=$((i+1)); done'
  const directory = work.write('big', {
    Dockerfile: `FROM busybox\nRUN ${big}; printf '\\377\\n'; exit 3\n`,
  })
  const failed = await store.attempt('tsbuild', ['build', '--progress', 'plain', directory])
  expect(failed.code).toBe(1)
  const number = /"tsbuild logs (\d+)" prints all/.exec(failed.stderr)?.[1] ?? ''
  const { stdout } = await store.tsbuild(['logs', number])
  expect(stdout.split('\n').length).toBe(40_002)
  expect(await why()).toMatch(/FAILED .*\n {6}never built here before\n {6}process "/)
  const file = join(store.root, 'builds', latest(), `${number}.log`)
  expect(statSync(file).size).toBeGreaterThan(700_000)
})

test('history lists builds, the failed one too, and forgets those it is told to', async () => {
  const { stdout } = await store.tsbuild(['history'])
  expect(stdout).toMatch(/^BUILD +NAME +STATUS/)
  // Of what could be cached: a base that was there took nothing, and `why` counts it neither.
  expect(stdout.split('\n')[1]).toMatch(/ failed +0\/1 /)
  expect(await why()).toContain('\nSteps: 1 failed\n')
  const id = latest()
  await store.tsbuild(['history', 'rm', id])
  expect(existsSync(join(store.root, 'builds', id))).toBe(false)
  const gone = await store.attempt('tsbuild', ['why', '--build', id])
  expect(gone.stderr).toContain(`No build "${id}" is remembered`)
})

test('a record that a crash cut short tells what it has, and that its build was stopped', async () => {
  const directory = work.write('cut', { Dockerfile: 'FROM busybox\nRUN echo cut\n' })
  await store.tsbuild(['build', directory])
  const events = join(store.root, 'builds', latest(), 'events.jsonl')
  truncateSync(events, statSync(events).size - 100)
  expect(await why()).toContain('stopped without a word')
  expect((await store.tsbuild(['logs', 'last', 'echo cut'])).stdout).toBe('cut\n')
})

test('diff tells what two steps differ in: mode, owner, size and content', async () => {
  const directory = work.write('diff', {
    Dockerfile:
      'FROM busybox\nRUN mkdir /d && echo one > /d/f && echo x > /d/gone\nRUN echo three > /d/f && chmod 600 /d/f && rm /d/gone && echo new > /d/new && chown 5:6 /d/new\n',
  })
  await store.tsbuild(['build', directory])
  const lines = (await why('--format', 'json'))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const [before, after] = lines.slice(-2).map(({ number }) => `#${number}`)
  const { stdout } = await store.tsbuild(['diff', before ?? '', after ?? ''])
  expect(stdout).toBe(
    'C /d\nC /d/f  (mode 644 → 600, size 4 → 6, content)\nD /d/gone\nA /d/new  (644 5:6, 4B)\n',
  )
  const none = await store.attempt('tsbuild', ['diff', '#99', 'busybox'])
  expect(none.stderr).toContain('has no step "99"')
})

test('a step, a build and a word that are not there are refused with what to do', async () => {
  const refused = async (...args: string[]) => (await store.attempt('tsbuild', args)).stderr
  expect(await refused('why', '99')).toContain('has no step "99"')
  expect(await refused('logs', 'a', 'b')).toContain('"a" is no id of a build')
  expect(await refused('history', 'drop')).toContain('Unknown word "drop"')
  await store.tsbuild(['history', 'rm', '--all'])
  expect(await refused('why')).toContain('No build is remembered yet')
})

test('fsck and df know every file that history keeps', async () => {
  const directory = work.write('fsck', { Dockerfile: 'FROM busybox\nRUN echo kept\n' })
  await store.tsbuild(['build', directory])
  const { stdout } = await store.tsbuild(['fsck', '--quick'])
  expect(stdout).toMatch(/stray +0 /)
})

function latest(): string {
  return readdirSync(join(store.root, 'builds')).sort().at(-1) ?? ''
}
