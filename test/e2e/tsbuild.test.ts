/** `tsbuild` as a user types it: flags, files, the cache, failures. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { openWorkspace, type Store } from './workspace.ts'

describeWith(['root', 'build', 'busybox'], 'tsbuild', () => {
  const work = openWorkspace('tsbuild')
  let store: Store
  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
  })
  afterAll(() => work.close())

  const context = (files: Readonly<Record<string, string>>, name = 'context') =>
    work.write(`${name}-${contexts++}`, files)
  let contexts = 0

  const run = async (image: string, ...command: string[]) =>
    (await store.tsrun(['--rm', '--network', 'none', image, ...command])).stdout

  /** Steps by how they came about, from plain progress. */
  const stepsOf = (stderr: string) => ({
    cached: [...stderr.matchAll(/^#(\d+) CACHED$/gm)].map(([, id]) => nameOf(stderr, id)),
    ran: [...stderr.matchAll(/^#(\d+) DONE /gm)]
      .map(([, id]) => nameOf(stderr, id))
      .filter(name => /\[.*\d+\/\d+\]/.test(name) && !name.includes('FROM')),
  })
  const nameOf = (stderr: string, id = '') =>
    new RegExp(`^#${id} (\\[.*)$`, 'm').exec(stderr)?.[1] ?? ''

  test('-f Dockerfile . builds without the word "build"', async () => {
    const directory = context({ 'docker/Dockerfile': 'FROM busybox\nCMD ["echo", "default"]' })
    await store.tsbuild(['-t', 'plain', '-f', 'docker/Dockerfile', '.'], { cwd: directory })
    expect(await run('plain')).toBe('default\n')
  })

  test('-f - reads the Dockerfile from standard input', async () => {
    const directory = context({ file: 'from the context\n' })
    const stdin = 'FROM busybox\nCOPY file /\nCMD ["cat", "/file"]\n'
    await store.tsbuild(['build', '-t', 'piped', '-f', '-', directory], { stdin })
    expect(await run('piped')).toBe('from the context\n')
  })

  test('-q prints only the ID, which --iidfile holds too', async () => {
    const directory = context({ Dockerfile: 'FROM busybox\nRUN echo noise; echo noise >&2' })
    const iidfile = work.path('iidfile')
    const quiet = await store.tsbuild(['-q', '--iidfile', iidfile, directory])
    expect(quiet).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/),
      stderr: '',
    })
    expect(readFileSync(iidfile, 'utf8')).toBe(quiet.stdout.trim())
    expect((await store.tsbuild(['inspect', '-f', '{{.Id}}', quiet.stdout.trim()])).stdout).toBe(
      quiet.stdout,
    )
  })

  test('--metadata-file names digests and the image as buildx does', async () => {
    const directory = context({ Dockerfile: 'FROM busybox\nENV A=1' })
    const file = work.path('metadata.json')
    await store.tsbuild(['-t', 'meta:1', '--metadata-file', file, directory])
    const metadata = JSON.parse(readFileSync(file, 'utf8'))
    const inspected = JSON.parse((await store.tsbuild(['inspect', 'meta:1'])).stdout)[0]
    expect(metadata).toEqual({
      'containerimage.config.digest': inspected.Id,
      'containerimage.descriptor': inspected.Descriptor,
      'containerimage.digest': inspected.Descriptor.digest,
      'image.name': 'docker.io/library/meta:1',
    })
  })

  test('--target builds that stage and runs no step it does not need', async () => {
    const directory = context({
      Dockerfile: [
        'FROM busybox AS first',
        'RUN echo one > /stage',
        'FROM busybox AS broken',
        'RUN exit 9',
        'FROM first AS second',
        'RUN echo two >> /stage',
        'FROM broken',
      ].join('\n'),
    })
    await store.tsbuild(['-t', 'target', '--target', 'second', directory])
    expect(await run('target', 'cat', '/stage')).toBe('one\ntwo\n')
    const unknown = await store.attempt('tsbuild', ['--target', 'secund', directory])
    expect(unknown.code).toBe(1)
    expect(unknown.stderr).toMatch(/target stage "secund" could not be found.*second/s)
  })

  test('--build-arg sets an ARG, --label a label', async () => {
    const directory = context({
      Dockerfile: 'ARG BASE=nothing\nFROM $BASE\nARG NAME=world\nRUN echo "Hello $NAME" > /hello',
    })
    const args = ['--build-arg', 'BASE=busybox', '--label', 'team=core']
    await store.tsbuild(['-t', 'args:1', ...args, directory])
    await store.tsbuild(['-t', 'args:2', ...args, '--build-arg', 'NAME=you', directory])
    expect(await run('args:1', 'cat', '/hello')).toBe('Hello world\n')
    expect(await run('args:2', 'cat', '/hello')).toBe('Hello you\n')
    const labels = await store.tsbuild(['inspect', '-f', '{{json .Config.Labels}}', 'args:1'])
    expect(JSON.parse(labels.stdout)).toEqual({ team: 'core' })
  })

  test('warns of a --build-arg that nothing uses, and says which was meant', async () => {
    const directory = context({ Dockerfile: 'FROM busybox\nARG VERSION=1' })
    const { stderr } = await store.tsbuild(['--build-arg', 'VERSOIN=2', directory])
    expect(stderr).toContain(
      'build-arg VERSOIN is not used by the Dockerfile (did you mean VERSION?)',
    )
  })

  test('.dockerignore keeps files out of the context, and takes exceptions', async () => {
    const directory = context({
      '.dockerignore': '*.log\n!keep.log\nsecret\n',
      'a.log': '',
      'keep.log': '',
      'b.txt': '',
      'secret/key': '',
      Dockerfile: 'FROM busybox\nCOPY . /all',
    })
    await store.tsbuild(['-t', 'ignored', directory])
    expect((await run('ignored', 'find', '/all', '-type', 'f')).split('\n').sort()).toEqual(
      ['', '/all/.dockerignore', '/all/Dockerfile', '/all/b.txt', '/all/keep.log'].sort(),
    )
  })

  test('a second build is all cached and gives the same image', async () => {
    const directory = context({
      Dockerfile: 'FROM busybox\nWORKDIR /w\nCOPY file .\nRUN cat file > copy\nENV A=b',
      file: 'x',
    })
    const first = await store.tsbuild(['--iidfile', work.path('first'), directory])
    const second = await store.tsbuild(['--iidfile', work.path('second'), directory])
    expect(stepsOf(first.stderr)).toEqual({
      cached: [],
      ran: ['[2/4] WORKDIR /w', '[3/4] COPY file .', '[4/4] RUN cat file > copy'],
    })
    expect(stepsOf(second.stderr)).toEqual({
      cached: ['[2/4] WORKDIR /w', '[3/4] COPY file .', '[4/4] RUN cat file > copy'],
      ran: [],
    })
    expect(readFileSync(work.path('second'), 'utf8')).toBe(readFileSync(work.path('first'), 'utf8'))
  })

  test('a step that runs again says why: a file, an argument, --no-cache', async () => {
    const dockerfile =
      'FROM busybox\nRUN echo before > /before\nARG NAME=a\nCOPY src /src\nRUN echo $NAME > /name'
    const directory = context({ Dockerfile: dockerfile, 'src/one': '1', 'src/two': '2' })
    await store.tsbuild([directory])

    writeFileSync(join(directory, 'src/two'), 'changed')
    const changedFile = await store.tsbuild(['.'], { cwd: directory })
    expect(stepsOf(changedFile.stderr)).toEqual({
      cached: ['[2/4] RUN echo before > /before'],
      ran: ['[3/4] COPY src /src', '[4/4] RUN echo a > /name'],
    })
    expect(changedFile.stderr).toMatch(/^#\d+ not cached: .*src\/two/m)

    const changedArgument = await store.tsbuild(['--build-arg', 'NAME=b', directory])
    expect(stepsOf(changedArgument.stderr).ran).toEqual(['[4/4] RUN echo b > /name'])
    expect(changedArgument.stderr).toMatch(/^#\d+ not cached: .*NAME/m)

    const forced = await store.tsbuild(['--no-cache', directory])
    expect(stepsOf(forced.stderr)).toMatchObject({ cached: [], ran: { length: 3 } })
    expect(forced.stderr).toContain('not cached: earlier results are not used (--no-cache)')
  })

  test('a failing step ends with 1, its output and the lines of the Dockerfile', async () => {
    const directory = context({
      Dockerfile:
        'FROM busybox\nRUN echo fine\nRUN echo about to fail && \\\n    exit 3\nENV A=b\n',
    })
    const { code, stdout, stderr } = await store.attempt('tsbuild', ['-t', 'never', directory])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^#\d+ \d+\.\d+ about to fail$/m)
    expect(stderr).toContain(
      [
        'Dockerfile:3',
        '--------------------',
        '   2 |     RUN echo fine',
        '   3 | >>> RUN echo about to fail && \\',
        '   4 | >>>     exit 3',
        '   5 |     ENV A=b',
        '--------------------',
        'ERROR: failed to build: failed to solve: process "/bin/sh -c echo about to fail &&     exit 3" did not complete successfully: exit code: 3',
      ].join('\n'),
    )
    expect(stderr).not.toMatch(/^ {4}at /m)
    expect((await store.attempt('tsbuild', ['inspect', 'never'])).code).toBe(1)
  })

  test.each([
    ['RUN --security=insecure true', 'entitlement security.insecure is not allowed'],
    ['RUN --network=host true', 'entitlement network.host is not allowed'],
    ['RUNN true', 'unknown instruction: RUNN (did you mean RUN?)'],
    ['COPY missing /', '"/missing": not found'],
    ['COPY --from=nobody/nothing:1 /a /b', 'nobody/nothing:1'],
  ])('refuses "%s" at its line', async (line, message) => {
    const dockerfile = `FROM busybox\nRUN echo "ran anyway"\n${line}\n`
    const directory = context({ Dockerfile: dockerfile, file: '' })
    const { code, stderr } = await store.attempt('tsbuild', ['--no-cache', directory])
    expect(code).toBe(1)
    expect(stderr).toContain(`   3 | >>> ${line}\n`)
    expect(stderr).toMatch(/^Dockerfile:3$/m)
    expect(stderr).toContain(message)
  })

  test.each([
    [['--bogus', '.'], 125, 'Unknown flag "--bogus"'],
    [['buidl', '.'], 125, 'Did you mean "tsbuild build"?'],
    [['build'], 125, 'takes 1 argument, got 0'],
    [['build', '/nowhere/at/all'], 125, 'is not there'],
    [['-f', 'Missing', '.'], 1, 'failed to read dockerfile: open Missing'],
    [
      ['--secret', 'id=x,src=/nowhere', '-f', 'Secret', '.'],
      1,
      'Cannot read secret "x" from "/nowhere": no such file or directory (ENOENT)\nName a file',
    ],
    [
      ['--secret', 'id=x,src=/dev/zero', '-f', 'Secret', '.'],
      1,
      'secret x: longer than the 512000',
    ],
  ])('%j ends with %i', async (args, expected, message) => {
    const cwd = context({ Secret: 'FROM busybox\nRUN --mount=type=secret,id=x true\n' })
    const { code, stderr } = await store.attempt('tsbuild', args, { cwd })
    expect({ code, stderr }).toEqual({ code: expected, stderr: expect.stringContaining(message) })
  })

  test('a secret is there for its step alone, and in no layer', async () => {
    const directory = context({
      Dockerfile: [
        'FROM busybox',
        'RUN --mount=type=secret,id=token,target=/token wc -c < /token > /size; stat -c %a /token > /mode',
        'RUN --mount=type=secret,id=token,env=TOKEN printf %s "$TOKEN" | wc -c > /length',
        'RUN ls /token /run/secrets > /left 2>&1; echo "$TOKEN" >> /left',
      ].join('\n'),
    })
    await store.tsbuild(['-t', 'secret', '--secret', 'id=token,env=MY_TOKEN', directory], {
      env: { MY_TOKEN: 'correct horse' },
    })
    expect(await run('secret', 'cat', '/size', '/mode', '/length')).toBe('13\n400\n13\n')
    expect(await run('secret', 'sh', '-c', 'find /token /run/secrets || true')).toBe('')
    expect(await run('secret', 'cat', '/left')).toMatch(/^ls: .*\nls: .*\n\n$/)
  })

  test('SIGINT ends a build with 130 and leaves nothing of the step that ran', async () => {
    const directory = context({ Dockerfile: 'FROM busybox\nRUN echo ready; sleep 600' })
    const build = store.start('tsbuild', [directory])
    await build.said(/^#\d+ [\d.]+ ready$/m)
    const begun = Date.now()
    build.child.kill('SIGINT')
    const { code, stderr } = await build.finished
    expect(code).toBe(130)
    expect(stderr).toContain('ERROR: canceled')
    expect(Date.now() - begun).toBeLessThan(5000)
  })

  test('RUN reaches no network with --network none, and its own host with host', async () => {
    const directory = context({
      Dockerfile:
        'FROM busybox\nRUN ls /sys/class/net > /devices; readlink /proc/self/ns/net > /ns',
    })
    await store.tsbuild(['-t', 'net:none', '--network', 'none', directory])
    await store.tsbuild(['-t', 'net:host', '--network', 'host', directory])
    await store.tsbuild(['-t', 'net:bridge', directory])
    expect(await run('net:none', 'cat', '/devices')).toBe('lo\n')
    expect((await run('net:bridge', 'cat', '/devices')).split('\n')).toContain('eth0')
  })

  test('a store is used under any name that a directory may have', async () => {
    const odd = await work.storeWithBusybox('a b:c,d\\e\\,f=g\nh\'"$ü')
    const directory = context({ Dockerfile: 'FROM busybox\nRUN echo made >/made\n' })
    await odd.tsbuild(['build', '-t', 'odd', directory])
    expect((await odd.tsrun(['--rm', 'odd', 'cat', '/made'])).stdout).toBe('made\n')
    expect((await odd.tsrun(['fsck'])).stdout).toContain('No faults')
  })
})
