import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkspace, type Registry, type Store, type Workspace } from './workspace.ts'

let work: Workspace
let store: Store
let registry: Registry

beforeAll(async () => {
  work = await openWorkspace('offline')
  store = await work.storeWithBusybox('store')
  registry = await work.serve()
  await store.tsbuild(['tag', 'busybox', `${registry.address}/base`])
  await store.tsbuild(['push', `${registry.address}/base`])
})

afterAll(() => work.close())

const failure = async (...args: string[]) => (await store.attempt('tsbuild', args)).stderr

test('--offline builds what is here without a registry, and names what is not', async () => {
  const base = `${registry.address}/base`
  const directory = work.write('app', { Dockerfile: `FROM ${base}\nRUN echo built > /b\n` })
  await store.tsbuild(['build', '--offline', '-t', 'app', directory])
  const other = work.write('other', { Dockerfile: `FROM ${registry.address}/other\n` })
  const told = await failure('build', '--offline', other)
  expect(told).toContain(`Cannot get "${registry.address}/v2/other/manifests/latest": no network`)
  const add = work.write('add', { Dockerfile: 'FROM busybox\nADD http://127.0.0.1:1/x /x\n' })
  expect(await failure('build', '--offline', add)).toContain('Cannot get "127.0.0.1:1/x"')
  const git = work.write('git', { Dockerfile: 'FROM busybox\nADD https://127.0.0.1:1/x.git /x\n' })
  expect(await failure('build', '--offline', git)).toContain('Cannot read git repository')
  expect(await failure('build', '--offline', '--push', '-t', base, directory)).toContain(
    '--offline allows no network, and a push needs it',
  )
})

test('--pull=newer takes what is here when the registry does not answer; --pull does not', async () => {
  const base = `${registry.address}/base`
  const directory = work.write('newer', { Dockerfile: `FROM ${base}\nRUN echo newer\n` })
  await registry.stop()
  const { stderr } = await store.tsbuild([
    'build',
    '--pull=newer',
    '--progress',
    'plain',
    directory,
  ])
  expect(stderr).toContain(`${base}:latest may not be the newest`)
  expect((await store.attempt('tsbuild', ['build', '--pull', directory])).code).toBe(1)
  expect((await store.tsbuild(['build', '--pull=false', directory])).code).toBe(0)
  expect(await failure('build', '--pull=sometimes', directory)).toContain('always')
}, 60_000)
