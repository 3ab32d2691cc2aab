/** Shells in steps: `--on-error=shell` and `tsbuild shell`, with commands from standard input. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorkspace, type Store, type Workspace } from './workspace.ts'

let work: Workspace
let store: Store

beforeAll(async () => {
  work = await openWorkspace('shell')
  store = await work.storeWithBusybox('store')
})

afterAll(() => work.close())

test('--on-error=shell opens a shell as the step left it: files, mounts, environment, user, directory', async () => {
  const directory = work.write('failing', {
    token: 'hush',
    Dockerfile: [
      'FROM busybox',
      'WORKDIR /w',
      'ENV NAME=value',
      'RUN --mount=type=secret,id=t --mount=type=tmpfs,target=/scratch echo half > made; exit 7',
      'RUN echo never',
    ].join('\n'),
  })
  const { code, stdout, stderr } = await store.attempt(
    'tsbuild',
    ['build', '--on-error=shell', '--secret', `id=t,src=${directory}/token`, directory],
    {
      stdin:
        'cat made; pwd; echo $NAME; cat /run/secrets/t; mount | grep -c " /scratch "; exit 0\n',
    },
  )
  expect(stdout).toBe('half\n/w\nvalue\nhush1\n')
  expect(code).toBe(1)
  expect(stderr).toContain('/bin/sh in /w, as the step left it: "exit" ends the build')
  expect(stderr).toContain('exit code: 7')
  expect(stderr).not.toContain('] RUN echo never')
})

test('shell opens one after any line or stage, from the cache, and leaves nothing behind', async () => {
  const directory = work.write('stages', {
    Dockerfile: [
      'FROM busybox AS one',
      'RUN echo 1 > /first',
      'RUN mkdir /t && echo 2 > /t/second',
      'USER 5',
      '# between two instructions',
      'FROM busybox AS two',
      'RUN false',
    ].join('\n'),
  })
  const shell = (place: string, stdin: string) =>
    store.attempt('tsbuild', ['shell', place, directory], { stdin })
  const second = await shell('one', 'cat /first /t/second; id -u; exit 3\n')
  expect({ code: second.code, stdout: second.stdout }).toEqual({ code: 3, stdout: '1\n2\n5\n' })
  const first = await shell('one:2', 'ls -d /t; rm /first; id -u\n')
  expect({ code: first.code, stdout: first.stdout }).toEqual({ code: 0, stdout: '0\n' })
  expect((await shell(':6', 'ls /first\n')).code).toBe(1)
  expect((await shell('two', '')).stderr).toContain('exit code: 1')
  const none = await shell('three', '')
  expect(none.stderr).toContain('Its stages: one, two. Name')
  const between = await shell('one:5', 'ls\n')
  expect(between.stderr).toContain('Its stages: one, two; the nearest instructions are at 4. Name')
  expect(first.stderr).not.toContain('not cached')
  expect((await store.tsbuild(['shell', '--help'])).stdout).not.toContain('--push')
})

test('K01 a shell is no build that the next one is compared with', async () => {
  const directory = work.write('compared', { Dockerfile: 'FROM busybox\nRUN echo a\nRUN echo b\n' })
  await store.tsbuild(['build', directory])
  await store.attempt('tsbuild', ['shell', ':2', directory], { stdin: '' })
  await store.tsbuild(['build', '--no-cache-filter', ':3', directory])
  work.write('compared', { Dockerfile: 'FROM busybox\nRUN echo a\nRUN echo c\n' })
  const { stderr } = await store.tsbuild(['build', '--progress', 'plain', directory])
  expect(stderr).toContain('not cached: the instruction changed, it was RUN echo b')
})

test('a shell that an image does not have is an error, not a crash', async () => {
  const directory = work.write('bare', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' })
  const { code, stderr } = await store.attempt('tsbuild', ['shell', '0', directory])
  expect(code).toBe(1)
  expect(stderr).toContain('/bin/sh')
  expect(stderr).not.toContain('internal error')
})
