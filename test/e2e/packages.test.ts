import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { run } from './process.ts'
import { checkout, openWorkspace } from './workspace.ts'

describeWith(['root', 'build', 'busybox'], 'the packages that are published', () => {
  const work = openWorkspace('packages')
  const modules = work.path('node_modules')
  const native = join(modules, `tsbuild-${process.platform}-${process.arch}`)
  const program = (name: string, words: readonly string[]) =>
    run('/bin/sh', [join(modules, 'tsbuild/dist/cli', `${name}.js`), ...words], {
      env: { ...work.env, TSBUILD_ROOT: work.path('store') },
    })

  afterAll(() => work.close())

  // As npm lays them out, with the checkout's copies of what they depend on.
  beforeAll(async () => {
    const script = join(checkout, 'scripts/package.mjs')
    const { stdout } = await run(process.execPath, [script, work.path('packed')], {
      env: work.env,
    })
    mkdirSync(modules)
    for (const name of readdirSync(join(checkout, 'node_modules'))) {
      symlinkSync(join(checkout, 'node_modules', name), join(modules, name))
    }
    for (const tarball of stdout.trim().split('\n')) {
      const folder = tarball.includes('tsbuild-linux') ? native : join(modules, 'tsbuild')
      await run('tar', ['-xzf', tarball, '-C', work.directory])
      renameSync(work.path('package'), folder)
    }
  })

  test('hold the programs and the native code, and no sources', () => {
    expect(readdirSync(native).sort()).toEqual([
      'LICENSE',
      'package.json',
      'sandbox',
      'syscalls.node',
    ])
    const programs = join(modules, 'tsbuild')
    expect(existsSync(join(programs, 'src'))).toBe(false)
    expect(existsSync(join(programs, 'build'))).toBe(false)
    const maps = readdirSync(programs, { recursive: true, encoding: 'utf8' })
    expect(maps.filter(name => /\.(map|test\.js)$/.test(name))).toEqual([])
  })

  test('build an image and run it, without a compiler and without a checkout', async () => {
    const context = work.write('context', {
      Dockerfile: `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "touch", "/made"]
`,
    })
    copyFileSync('/bin/busybox', join(context, 'busybox'))
    await program('tsbuild', ['-t', 'packed', '--network', 'none', context])
    const words = ['--rm', '--network', 'none', 'packed', '/bin/busybox', 'ls', '/made']
    expect((await program('tsrun', words)).stdout).toBe('/made\n')
  })

  test('name the missing one where npm did not install it', async () => {
    rmSync(native, { recursive: true })
    await expect(program('tsrun', ['packed', '/bin/busybox'])).rejects.toThrow(
      /Cannot load the native addon[\s\S]*install the package "tsbuild-linux-/,
    )
  })
})
