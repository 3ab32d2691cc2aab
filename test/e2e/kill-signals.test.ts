/** SIGINT and SIGTERM: everything is put away, and the exit code says what happened. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { mountsOf, processesLeft, processesOf, underWay } from './kill/leftovers.ts'
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
      await new Promise(resolve => setTimeout(resolve, 200))
    }
    expect((await ended).code).toBe(137)
    await expectNothingLeft()
    expect((await programs.run('tsrun', ['ps', '-a', '-q'])).stdout).toBe('')
  })
})
