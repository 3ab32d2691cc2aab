/** What the programs do when their streams, or files that users name, are not what they hope for. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'

const root = mkdtempSync(join(tmpdir(), 'cli-streams-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const tsbuild = join(import.meta.dirname, '../../dist/cli/tsbuild.js')
const env = { ...process.env, TSBUILD_ROOT: join(root, 'store') }

function context(name: string): string {
  const directory = join(root, name)
  mkdirSync(directory)
  writeFileSync(join(directory, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n')
  return directory
}

function build(...args: string[]) {
  const { status, stderr } = spawnSync(process.execPath, [tsbuild, '-q', ...args], {
    encoding: 'utf8',
    env,
    timeout: 20_000,
  })
  return { status, stderr }
}

describeWith(['build'], 'tsbuild', () => {
  it.each([['--help'], ['images']])('says that it could not write what %s prints', command => {
    const line = `"$0" "$1" ${command} >/dev/full`
    const { status, stderr } = spawnSync('sh', ['-c', line, process.execPath, tsbuild], {
      encoding: 'utf8',
      env,
    })
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'ERROR: Cannot write to standard output: no space left on device (ENOSPC)\n',
    })
  })

  it('builds nothing when an output cannot be written', () => {
    const directory = context('unwritable')
    const missing = join(root, 'missing')
    const expected = `Cannot write "${missing}/x": there is no directory "${missing}"\n`
    for (const flags of [
      ['--iidfile', `${missing}/x`],
      ['--metadata-file', `${missing}/x`],
      ['-o', `type=oci,dest=${missing}/x`],
    ]) {
      expect(build(...flags, directory)).toEqual({
        status: 1,
        stderr: `ERROR: failed to build: ${expected}`,
      })
    }
  })

  it('waits for no writer of a .dockerignore, and names what it is', () => {
    const directory = context('fifo')
    const fifo = join(directory, '.dockerignore')
    execFileSync('mkfifo', [fifo])
    expect(build(directory)).toEqual({
      status: 1,
      stderr: `ERROR: failed to build: Cannot read "${fifo}": not a regular file\n`,
    })
  })

  it('tells a context that is not there from one that is a file, and a Dockerfile from a directory', () => {
    const directory = context('named')
    const usage = 'See "tsbuild build --help"\n'
    expect(build(join(root, 'none'))).toEqual({
      status: 125,
      stderr: `ERROR: Build context "${join(root, 'none')}" is not there\n${usage}`,
    })
    const file = join(directory, 'Dockerfile')
    expect(build(file)).toEqual({
      status: 125,
      stderr: `ERROR: Build context "${file}" is not a directory\n${usage}`,
    })
    expect(build('-f', directory, directory).stderr).toContain(
      `failed to read dockerfile: read ${directory}: is a directory\n`,
    )
  })

  it('says what is wrong with an empty Dockerfile on the first line', () => {
    const directory = context('empty')
    writeFileSync(join(directory, 'Dockerfile'), '')
    expect(build(directory).stderr).toMatch(/^ERROR: .*cannot be empty\n$/)
  })

  it('is ended by its third SIGINT while it waits for a Dockerfile that nobody writes', async () => {
    const fifo = join(root, 'Dockerfile.fifo')
    execFileSync('mkfifo', [fifo])
    const child = spawn(process.execPath, [tsbuild, '-q', '-f', fifo, root], { env })
    const ended = once(child, 'exit')
    const isOver = () => child.exitCode !== null || child.signalCode !== null
    // Each one after the one before was taken: of those that come at once the kernel makes one.
    while (!isOver()) {
      child.kill('SIGINT')
      await Promise.race([ended, sleep(200)])
    }
    expect(child.signalCode).toBe('SIGINT')
  })
})
