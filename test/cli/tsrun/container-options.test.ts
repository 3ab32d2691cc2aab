import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseFlags } from '../../../src/cli/flags.ts'
import { containerOptions } from '../../../src/cli/tsrun/container-options.ts'
import { runFlags, unsupportedRunFlags } from '../../../src/cli/tsrun/run-flags.ts'

const grammar = {
  flags: runFlags,
  unsupported: unsupportedRunFlags,
  positionals: 'first-ends-flags',
} as const

function options(words: string[], environment: Record<string, string> = {}) {
  const { values, positionals } = parseFlags(grammar, [...words, 'image', 'cmd', '--flag'])
  expect(positionals[0]).toBe('image')
  return containerOptions(values, positionals.slice(1), name => environment[name])
}

describe('containerOptions()', () => {
  test('has docker’s defaults', async () => {
    expect(await options([])).toEqual({
      command: ['cmd', '--flag'],
      env: [],
      network: 'bridge',
      mounts: [],
      terminal: false,
      readOnly: false,
      security: {
        capAdd: [],
        capDrop: [],
        privileged: false,
        seccomp: 'default',
        noNewPrivileges: false,
      },
      limits: {},
      extraHosts: [],
      dns: [],
      shmSize: 64 * 1024 * 1024,
    })
  })

  test('passes variables on, files first', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cli-eng-env-'))
    try {
      const file = join(directory, 'env')
      await writeFile(file, '\ufeffA=file\r\n# comment\n\n  B=x # y\nPASSED\nABSENT\n')
      const { env } = await options(['-e', 'A=flag', '--env-file', file, '-eC', '-e', 'D='], {
        PASSED: 'yes',
        C: 'c',
      })
      expect(env).toEqual(['A=file', 'B=x # y', 'PASSED=yes', 'A=flag', 'C=c', 'D='])
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  test('reads volumes and tmpfs', async () => {
    const { mounts } = await options([
      ...['-v', '/a:/b', '-v', './rel:/c:ro', '-v', '/d:/e:rw,z'],
      ...['--tmpfs', '/run', '--tmpfs', '/tmp:size=64m,mode=755,noexec'],
    ])
    const bind = { kind: 'bind', recursive: true, readOnly: false }
    expect(mounts).toEqual([
      { ...bind, source: '/a', target: '/b' },
      { ...bind, source: resolve('rel'), target: '/c', readOnly: true },
      { ...bind, source: '/d', target: '/e' },
      { kind: 'tmpfs', target: '/run', mode: 0o1777 },
      { kind: 'tmpfs', target: '/tmp', mode: 0o755, size: 64 * 1024 * 1024 },
    ])
  })

  test('reads hosts, name servers, limits and security', async () => {
    expect(
      await options([
        ...['--add-host', 'db:10.0.0.1', '--add-host', 'v6=[::1]', '--dns', '1.1.1.1'],
        ...['-m', '64m', '--cpus', '0.5', '--pids-limit', '-1', '--shm-size', '1m'],
        ...['--security-opt', 'seccomp=unconfined', '--security-opt', 'no-new-privileges'],
        ...['--entrypoint', '', '-h', 'box', '-w', '/w', '--read-only', '--net', 'none'],
      ]),
    ).toMatchObject({
      extraHosts: [
        { name: 'db', address: '10.0.0.1' },
        { name: 'v6', address: '::1' },
      ],
      dns: ['1.1.1.1'],
      limits: { memory: 64 * 1024 * 1024, cpus: 0.5 },
      shmSize: 1024 * 1024,
      security: { seccomp: 'unconfined', noNewPrivileges: true },
      entrypoint: [],
      hostname: 'box',
      workingDirectory: '/w',
      readOnly: true,
      network: 'none',
    })
  })

  test.each([
    [['-v', 'data:/b'], 'named volumes are not supported yet'],
    [['-v', '/b'], 'without a source'],
    [['-v', '/a:b'], 'absolute path'],
    [['-v', '/a:/'], 'the target cannot be the root'],
    [['-v', '/a:/b:bogus'], 'unknown option "bogus"'],
    [['-v', '/a:/b:ro:x'], 'expected SOURCE:TARGET[:ro]'],
    [['--tmpfs', 'tmp'], 'absolute path'],
    [['--tmpfs', '/t:size=x'], 'Cannot use tmpfs "/t:size=x": expected a size'],
    [['--tmpfs', '/t:bogus=1'], 'unknown option "bogus=1"'],
    [['--add-host', 'db'], 'expected NAME:ADDRESS'],
    [['--add-host', 'db:nowhere'], 'expected NAME:ADDRESS'],
    [['--dns', 'x'], 'no IP address'],
    [['-h', 'a b'], 'Cannot use host name "a b"'],
    [['-e', '=x'], 'no valid name'],
    [['-m', '1m'], 'the least is 6m'],
    [['--cpus', '-1'], 'less than none'],
    [['--security-opt', 'apparmor=x'], 'not supported yet'],
  ])('refuses %j', async (words, message) => {
    await expect(options(words)).rejects.toThrow(message)
  })

  test.each([
    [['-p', '80:80'], 'Flag --publish is not supported yet'],
    [['-d'], 'Flag --detach is not supported yet'],
    [['--restart', 'always'], 'Flag --restart is not supported yet'],
    [['--mount', 'x'], 'Flag --mount is not supported yet'],
  ])('refuses %j by name', (words, message) => {
    expect(() => parseFlags(grammar, [...words, 'image'])).toThrow(message)
  })
})
