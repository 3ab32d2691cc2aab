/** `tsrun-oci` as its callers run it: output, logs, exit codes, descriptors, and a kill half-way. */
import { spawnSync } from 'node:child_process'
import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Bundles, type Config, makeBundles } from '../sandbox/bundle.ts'
import { describeWith } from '../support/requires.ts'
import { start } from './process.ts'
import { checkout } from './workspace.ts'

const program = join(checkout, 'dist/cli/tsrun-oci.js')

describeWith(['root', 'build', 'busybox'], 'tsrun-oci', () => {
  let bundles: Bundles
  let files: number
  beforeAll(() => {
    bundles = makeBundles()
  })
  afterAll(async () => {
    await bundles[Symbol.asyncDispose]()
  })

  const oci = (...args: string[]) =>
    spawnSync(program, ['--root', bundles.root, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe', files ?? 'ignore'],
    })
  const script = (text: string) => (config: Config) => {
    config.process.args = ['sh', '-c', text]
  }

  test('runs a bundle in the foreground, with the descriptors it was to get', () => {
    const given = join(bundles.directory, 'given')
    spawnSync('sh', ['-c', 'echo given > "$0"', given])
    files = openSync(given, 'r')
    const bundle = bundles.write(script('cat <&3; ls /proc/self/fd | wc -l; echo oh >&2; exit 7'))
    const { status, stdout, stderr } = oci(
      'run',
      '--preserve-fds',
      '1',
      '--bundle',
      bundle,
      'front',
    )
    expect({ status, stdout, stderr }).toEqual({ status: 7, stdout: 'given\n5\n', stderr: 'oh\n' })
    expect(oci('list', '--quiet').stdout).toBe('')
  })

  test('prints states and lists for programs', async () => {
    const bundle = bundles.write(script('sleep 1000'))
    const pid = await bundles.create('listed', bundle)
    expect(JSON.parse(oci('state', 'listed').stdout)).toMatchObject({
      ...{ ociVersion: '1.2.0', id: 'listed', status: 'created', pid, bundle },
      annotations: { 'org.example.made-by': 'a test' },
    })
    expect(JSON.parse(oci('list', '--format', 'json').stdout)).toMatchObject([{ id: 'listed' }])
    expect(oci('delete', '--force', 'listed')).toMatchObject({ status: 0, stderr: '' })
    expect(JSON.parse(oci('features').stdout)).toMatchObject({
      ociVersionMin: '1.0.0',
      linux: { cgroup: { v1: true, v2: true, systemd: false } },
    })
  })

  test('says why it failed on standard error and in its log', () => {
    const log = join(bundles.directory, 'log.json')
    const bundle = bundles.write(config => {
      config.process.user = { uid: 'root' }
    })
    const failed = oci('--log', log, '--log-format', 'json', 'create', '--bundle', bundle, 'wrong')
    expect(failed.status).toBe(1)
    expect(failed.stderr).toContain('process.user.uid: expected a whole number, got "root"')
    const entry = JSON.parse(readFileSync(log, 'utf8').trim())
    expect(entry).toMatchObject({ level: 'error', msg: failed.stderr.trim() })
  })

  test.each([
    [['--systemd-cgroup', 'list'], 'another cgroup manager than cgroupfs'],
    [['create', '--no-pivot', 'x'], 'Flag --no-pivot is not supported'],
    [['checkpoint', 'x'], 'Command "checkpoint" is not supported'],
    [['kill', 'nobody', 'SIGNONE'], 'Cannot use signal "SIGNONE"'],
  ])('refuses %j by name', (words, expected) => {
    const { status, stderr } = oci(...words)
    expect(status).not.toBe(0)
    expect(stderr).toContain(expected)
  })

  test('leaves no process when create is killed, and delete --force takes the rest away', async () => {
    const bundle = bundles.write(config => {
      config.process.args = ['sleep', '4343']
      config.hooks = {
        createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', 'echo hooked >&2; exec sleep 5'] }],
      }
    })
    const creating = start(program, ['--root', bundles.root, 'create', '--bundle', bundle, 'cut'])
    await creating.said(/hooked/)
    const { pid } = JSON.parse(oci('state', 'cut').stdout)
    expect(pid).toBeGreaterThan(0)
    creating.child.kill('SIGKILL')
    await expect.poll(() => JSON.parse(oci('state', 'cut').stdout).status).toBe('stopped')
    expect(oci('delete', '--force', 'cut').status).toBe(0)
    expect(oci('list', '--quiet').stdout).toBe('')
  })
})
