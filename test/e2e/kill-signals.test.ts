/** SIGINT and SIGTERM: everything is put away, and the exit code says what happened. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { writeContext } from './kill/image.ts'
import { damagedBlobs, mountsOf, processesLeft, processesOf, underWay } from './kill/leftovers.ts'
import { seededRandom } from './kill/moments.ts'
import { openPrograms, type Programs, type Started } from './kill/programs.ts'

describeWith(['root', 'busybox'], 'signals', () => {
  let programs: Programs
  let store: string
  beforeAll(async () => {
    programs = openPrograms()
    store = join(programs.work, 'store')
    await programs.importBusybox()
  })
  afterAll(() => programs[Symbol.dispose]())

  /** Two stages under way side by side, whose processes ignore what they can. */
  async function startBuild(): Promise<Started> {
    const context = join(programs.work, 'context')
    mkdirSync(context, { recursive: true })
    const stubborn = 'trap "" INT TERM HUP; echo begun > /begun; sleep 60 & sleep 60'
    writeFileSync(
      join(context, 'Dockerfile'),
      `FROM busybox AS one
ENV KILL_MARK=${programs.mark}
RUN ${stubborn}
FROM busybox
ENV KILL_MARK=${programs.mark}
COPY --from=one /begun /
RUN : two; ${stubborn}
`,
    )
    return await whenAsleep(programs.start('tsbuild', ['-t', 'app:signals', context]))
  }

  async function startContainer(command: string): Promise<Started> {
    const args = ['--rm', '-e', `KILL_MARK=${programs.mark}`, 'busybox', 'sh', '-c', command]
    return await whenAsleep(programs.start('tsrun', args))
  }

  async function whenAsleep(started: Started): Promise<Started> {
    const asleep = () => processesOf(programs).filter(line => line.endsWith(': sleep 60 '))
    await expect.poll(() => asleep().length, { timeout: 20_000 }).toBeGreaterThan(0)
    return started
  }

  async function expectNothingLeft(): Promise<void> {
    expect(await processesLeft(programs)).toEqual([])
    expect(mountsOf(programs)).toEqual([])
  }

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'tsbuild ends with its code after one %s, everything put away',
    async (name, code) => {
      const { child, ended } = await startBuild()
      child.kill(name)
      const { code: actual, stderr } = await ended
      expect([actual, stderr.split('\n').at(-2)]).toEqual([code, 'ERROR: canceled'])
      await expectNothingLeft()
      expect(underWay(store)).toEqual([])
      expect(
        existsSync(join(store, 'containers')) ? readdirSync(join(store, 'containers')) : [],
      ).toEqual([])
    },
  )

  it('tsbuild ends with 130 after a second SIGINT at once, and nothing stays', async () => {
    const { child, ended } = await startBuild()
    child.kill('SIGINT')
    child.kill('SIGINT')
    expect((await ended).code).toBe(130)
    await expectNothingLeft()
    await programs.run('tsbuild', ['images'])
    expect(underWay(store)).toEqual([])
  })

  it('tsbuild ends with 130 at any moment of a build, saying no more than that', async () => {
    const random = seededRandom('kill-signals')
    const archive = join(programs.work, 'out.tar')
    const outputs = ['-o', 'type=image,name=app:any', '-o', `type=oci,dest=${archive}`]
    const args = ['--progress', 'plain', '--no-cache', ...outputs, writeContext(programs)]
    const { milliseconds } = await programs.run('tsbuild', args)
    for (let round = 0; round < 15; round++) {
      const { child, ended } = programs.start('tsbuild', args)
      await sleep(random() * milliseconds)
      child.kill('SIGINT')
      const { code, stderr } = await ended
      // Done already; or before Node had come to us, when the kernel ends the process.
      expect([0, 130, null], stderr).toContain(code)
      expect(stderr).not.toMatch(/internal error|AbortError|\n\s+at /)
      if (code === 130) expect(stderr.split('\n').at(-2)).toBe('ERROR: canceled')
      expect(readdirSync(programs.work).filter(name => name.endsWith('.tmp'))).toEqual([])
      await expectNothingLeft()
    }
    await programs.run('tsbuild', ['images'])
    expect(underWay(store)).toEqual([])
    expect(await damagedBlobs(store)).toEqual([])
  })

  it('tsrun hands SIGTERM and SIGINT on to the container', async () => {
    const { child, ended } = await startContainer('trap "exit 42" TERM; sleep 60 & wait')
    child.kill('SIGTERM')
    expect((await ended).code).toBe(42)
    await expectNothingLeft()
    const second = await startContainer('trap "exit 43" INT; sleep 60 & wait')
    second.child.kill('SIGINT')
    expect((await second.ended).code).toBe(43)
    await expectNothingLeft()
  })

  it('tsrun kills a container that ignores it at the third SIGINT', async () => {
    const { child, ended } = await startContainer('trap "" INT; sleep 60 & sleep 60')
    for (let signals = 1; signals <= 3; signals++) {
      expect(child.exitCode).toBeNull()
      child.kill('SIGINT')
      await sleep(200)
    }
    expect((await ended).code).toBe(137)
    await expectNothingLeft()
    expect((await programs.run('tsrun', ['ps', '-a', '-q'])).stdout).toBe('')
  })
})
