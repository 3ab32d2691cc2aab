/** A full disk: a clear error, nothing half-written, and all is well when there is space again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { type Content, content } from '../registry/server/contents.ts'
import { describeWith } from '../support/requires.ts'
import { damagedBlobs, mountsOf, processesLeft, underWay } from './kill/leftovers.ts'
import { type Ended, openPrograms, type ProgramName, type Programs } from './kill/programs.ts'

const megabyte = 1_000_000

describeWith(['root', 'busybox'], 'a full disk', () => {
  let programs: Programs
  /** Keeps the mount namespace in which the store is a small disk of its own. */
  let keeper: ChildProcess
  /** As the programs see it, and as we do. */
  let store: string
  let seen: string
  let context: string

  beforeAll(async () => {
    programs = openPrograms()
    store = join(programs.work, 'store')
    mkdirSync(store)
    const mount = `mount -t tmpfs -o size=24m tmpfs "${store}" && echo mounted && exec cat`
    keeper = spawn('unshare', ['-m', 'sh', '-c', mount], { stdio: ['pipe', 'pipe', 'inherit'] })
    if (keeper.stdout === null) throw new Error('The keeper has no stdout')
    await once(keeper.stdout, 'data')
    seen = `/proc/${keeper.pid}/root${store}`
    context = join(programs.work, 'context')
    mkdirSync(context)
    writeFileSync(join(context, 'big'), Buffer.alloc(30 * megabyte, 'x'))
    writeFileSync(join(context, 'small'), 'small')
    const files = {
      run: 'RUN head -c 40000000 /dev/zero > /zeros || { rm /zeros; exit 3; }',
      copy: 'COPY big /',
      fits: 'COPY small /\nRUN echo fits > /fits',
    }
    for (const [name, step] of Object.entries(files)) {
      writeFileSync(join(context, name), `FROM busybox\nENV KILL_MARK=${programs.mark}\n${step}\n`)
    }
    await expectSuccess(await programs.importBusybox(inside()))
  })

  afterAll(async () => {
    keeper.stdin?.end()
    await once(keeper, 'exit')
    programs[Symbol.dispose]()
  })

  function inside() {
    return { store, under: ['nsenter', '-t', String(keeper.pid), '-m', `--wd=${programs.work}`] }
  }

  const attempt = (name: ProgramName, ...args: string[]) =>
    programs.start(name, args, inside()).ended
  const build = (file: string, ...flags: string[]) =>
    attempt('tsbuild', '-f', join(context, file), '-t', `${file}:x`, ...flags, context)

  function expectSuccess({ code, stderr }: Ended): void {
    expect([code, stderr]).toEqual([0, expect.any(String)])
  }

  /** The last lines on stderr, and no word of a bug. */
  function expectFailure({ code, stderr }: Ended, message: RegExp): void {
    expect(code).not.toBe(0)
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/internal error|SuppressedError|\n\s+at /)
  }

  async function expectClean(): Promise<void> {
    expect(await processesLeft(programs)).toEqual([])
    expect(mountsOf(programs)).toEqual([])
    expect(underWay(seen)).toEqual([])
    expect(await damagedBlobs(seen)).toEqual([])
  }

  /** Leaves `bytes` free. */
  function fill(bytes: number): void {
    const { bavail, bsize } = statfsSync(seen)
    writeFileSync(join(seen, 'filling'), Buffer.alloc(bavail * bsize - bytes))
  }

  it('a RUN and a COPY that fill it fail, and what they wrote is free at once', async () => {
    expectFailure(await build('run'), /exit code: 3/)
    expectFailure(await build('copy'), /no space left on device[\s\S]*tsbuild prune/)
    await expectClean()
    const { bavail, blocks } = statfsSync(seen)
    expect(bavail).toBeGreaterThan(blocks / 2)
    expectSuccess(await build('fits'))
    await expectClean()
  })

  it.each([0, 20_000, 100_000, 2 * megabyte])(
    'with %i bytes free, every command works or says why, and all do later',
    async free => {
      fill(free)
      const ends = [
        await build('copy', '--no-cache'),
        await build('fits', '--no-cache'),
        await attempt('tsrun', '--rm', 'busybox', 'true'),
        await attempt('tsrun', '--name', `kept-${free}`, 'busybox', 'true'),
        await attempt('tsbuild', 'tag', 'busybox', 'other:name'),
        await attempt('tsbuild', 'save', '-o', join(store, 'saved.tar'), 'busybox'),
        await attempt('tsbuild', 'images'),
        await attempt('tsrun', 'ps', '-a'),
      ]
      for (const end of ends.filter(({ code }) => code !== 0)) {
        expectFailure(end, /no space left/)
      }
      expect(ends.slice(-2).map(({ code }) => code)).toEqual([0, 0])
      const kept = await attempt('tsrun', 'ps', '-a', '-q')
      for (const id of kept.stdout.split('\n').filter(line => line !== '')) {
        expectSuccess(await attempt('tsrun', 'rm', id))
      }
      rmSync(join(seen, 'filling'))
      rmSync(join(seen, 'saved.tar'), { force: true })
      expectSuccess(await build('fits', '--no-cache'))
      expectSuccess(await attempt('tsrun', '--rm', 'fits:x', 'cat', '/small', '/fits'))
      await expectClean()
      expect(readdirSync(seen).filter(name => name.endsWith('.tmp'))).toEqual([])
    },
  )
  it('the registry refuses what does not fit with 503, and takes it later', async () => {
    const args = ['serve', '--addr', '127.0.0.1:0', '--root', join(store, 'registry')]
    const { child, ended } = programs.start('tsregistry', args, inside())
    if (child.stdout === null) throw new Error('The registry has no stdout')
    const [line] = await once(child.stdout, 'data')
    const repository = `http://${/127\.0\.0\.1:\d+/.exec(String(line))?.[0]}/v2/full`
    const blobs = Array.from({ length: 4 }, () => content(randomBytes(megabyte)))
    const push = async ({ bytes, digest }: Content) => {
      const url = `${repository}/blobs/uploads/?digest=${digest}`
      const { status } = await fetch(url, { method: 'POST', body: new Uint8Array(bytes) })
      return status
    }
    fill(2.5 * megabyte)
    const statuses: number[] = []
    for (const blob of blobs) statuses.push(await push(blob))
    expect([statuses[0], statuses.at(-1)]).toEqual([201, 503])
    for (const [index, { digest }] of blobs.entries()) {
      const { status } = await fetch(`${repository}/blobs/${digest}`)
      expect(status).toBe(statuses[index] === 201 ? 200 : 404)
    }
    rmSync(join(seen, 'filling'))
    const { bfree: before, bsize } = statfsSync(seen)
    for (const blob of blobs) {
      expect(await push(blob)).toBe(201)
      const answer = await fetch(`${repository}/blobs/${blob.digest}`)
      expect(digestOf(new Uint8Array(await answer.arrayBuffer()))).toBe(blob.digest)
    }
    // What was refused, and what was there already, takes no space.
    expect((before - statfsSync(seen).bfree) * bsize).toBeLessThan(2.5 * megabyte)
    child.kill('SIGTERM')
    expect((await ended).code).toBe(0)
  })
})
