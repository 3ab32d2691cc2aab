import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { compileSources } from '../support/compiled.ts'

const compiled = compileSources()
const root = mkdtempSync(join(tmpdir(), 'cli-programs-'))
const { PATH = '' } = process.env
const env = { PATH, HOME: root, TSBUILD_ROOT: join(root, 'store') }

afterAll(() => {
  compiled[Symbol.dispose]()
  rmSync(root, { recursive: true, force: true })
})

/** Started as the kernel starts it: its first line is a shell's. */
const program = (name: string) => join(compiled.dist, 'cli', `${name}.js`)

function run(name: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync('/bin/sh', [program(name), ...args], {
    encoding: 'utf8',
    env,
  })
  return { status, stdout, stderr }
}

function start(...args: string[]): ChildProcess {
  return spawn('/bin/sh', [program('tsrun'), ...args], { env, stdio: 'pipe' })
}

describe.each(['tsbuild', 'tsrun'])('%s', name => {
  test('prints its help to stdout', () => {
    const { status, stdout, stderr } = run(name, '--help')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain(`Usage: ${name} `)
  })

  test('prints its version', () => {
    expect(run(name, '--version').stdout).toMatch(new RegExp(`^${name} \\d`))
  })

  test('refuses an unknown flag on stderr, with 125', () => {
    const { status, stdout, stderr } = run(name, 'images', '--bogus')
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' })
    expect(stderr).toBe(`ERROR: Unknown flag "--bogus"\nSee "${name} images --help"\n`)
  })

  test('fails with 1 and no stack trace', () => {
    const { status, stderr } = run(name, 'inspect', 'nothing-here')
    expect(status).toBe(1)
    expect(stderr).toBe('ERROR: Cannot find image "nothing-here" in the store\n')
  })

  test('lists nothing in a new store', () => {
    expect(run(name, 'images')).toEqual({
      status: 0,
      stdout: 'REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n',
      stderr: '',
    })
  })

  test('has a help for every command', { timeout: 60_000 }, async () => {
    const commands = run(name, '--help').stdout.matchAll(/^ {2}([a-z]+) {2,}\S/gm)
    const names = Array.from(commands, match => match[1] ?? '')
    expect(names.length).toBeGreaterThan(10)
    for (const command of names) {
      const { status, stdout } = run(name, command, '--help')
      expect({ command, status }).toEqual({ command, status: 0 })
      expect(stdout).toMatch(new RegExp(`^Usage: ${name} ${command}\\b`))
      expect(Math.max(...stdout.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
    }
  })
})

describe('tsrun', () => {
  test('is stopped by SIGINT with 130 while it waits for input', async () => {
    writeFileSync(join(root, 'blob'), Buffer.alloc(4_000_000))
    const { stdout: archive } = spawnSync('tar', ['-C', root, '-c', 'blob'], { maxBuffer: 2 ** 23 })
    const child = start('load')
    const stderr: Buffer[] = []
    child.stderr?.on('data', chunk => stderr.push(chunk))
    child.stdin?.write(archive.subarray(0, 3_000_000))
    await once(child.stdin as NodeJS.WritableStream, 'drain')
    child.kill('SIGINT')
    const [code] = (await once(child, 'close')) as [number]
    expect({ code, stderr: String(Buffer.concat(stderr)) }).toEqual({
      code: 130,
      stderr: 'ERROR: canceled\n',
    })
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends a pull with %s: %i', async (signal, expected) => {
    const server = createServer(() => child.kill(signal)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const child = start('pull', `127.0.0.1:${port}/x`)
    const stderr: Buffer[] = []
    child.stderr?.on('data', chunk => stderr.push(chunk))
    const [code] = (await once(child, 'close')) as [number]
    server.closeAllConnections()
    server.close()
    expect(code).toBe(expected)
    expect(String(Buffer.concat(stderr))).toBe(
      `#1 pulling 127.0.0.1:${port}/x:latest\n#1 CANCELED\nERROR: canceled\n`,
    )
  })

  test('writes all it has to say, however slowly that is read', async () => {
    const stages = Array.from({ length: 500 }, (_, i) => `from scratch AS stage-${i}\n`)
    writeFileSync(join(root, 'Dockerfile'), stages.join(''))
    const pipeline = `sh ${program('tsbuild')} --check ${root} | { sleep 1; cat; }`
    const { stdout } = spawnSync('/bin/sh', ['-c', pipeline], { encoding: 'utf8', env })
    expect(stdout.length).toBeGreaterThan(100_000)
    expect(stdout).toContain('>>> from scratch AS stage-499')
  })

  test('is quiet when nobody reads its output', async () => {
    const child = start('run', '--help')
    child.stdout?.destroy()
    const stderr: Buffer[] = []
    child.stderr?.on('data', chunk => stderr.push(chunk))
    const [code] = (await once(child, 'exit')) as [number]
    expect([0, 141]).toContain(code)
    expect(String(Buffer.concat(stderr))).toBe('')
  })

  test.each([
    [['run'], 'takes at least 1 argument, got 0'],
    [['run', '--restart', 'always', 'x'], 'Flag --restart is not supported yet'],
    [['-a', 'stdin', 'x'], 'Flag --attach is not supported yet'],
    [['run', '-t', 'x'], 'The input device is not a TTY'],
    [['run', '--pull', 'never', 'x'], 'Cannot find image "x" in the store'],
    [['run', '--pull', 'never', 'a/UPPER/case'], 'Cannot parse repository name'],
    [['run', 'localhost:1/x'], 'connection refused'],
    [['run', '--env-file', '/nothing', 'x'], 'ENOENT'],
  ])('%j ends with 125', (args, message) => {
    const { status, stderr } = run('tsrun', ...args)
    expect({ status, stderr }).toEqual({ status: 125, stderr: expect.stringContaining(message) })
  })

  test('login asks nothing without a terminal', () => {
    const { status, stderr } = run('tsrun', 'login', 'localhost:1')
    expect({ status, stderr }).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('standard input is no terminal'),
    })
  })
})
