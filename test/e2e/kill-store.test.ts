/**
 * kill -9 during pulls, unpacks, builds and cleaning up, two of them at once in every third round:
 * `tsrun fsck` finds no fault after any of them, and what comes next works.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ServedRegistry, serveRegistry } from '../registry/server/program.ts'
import { describeWith } from '../support/requires.ts'
import { contentsOf, writeContext } from './kill/image.ts'
import { damagedBlobs, mountsOf, processesLeft, underWay } from './kill/leftovers.ts'
import { type Random, seededRandom } from './kill/moments.ts'
import { openPrograms, type ProgramName, type Programs } from './kill/programs.ts'

/** The long lane has 200. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 6)

interface Act {
  readonly program: ProgramName
  readonly args: readonly string[]
  /** Brings the store to where the act has something to do. */
  readonly before?: readonly (readonly string[])[]
}

describeWith(['root', 'busybox'], 'kill -9 of what changes the store', () => {
  let programs: Programs
  let registry: ServedRegistry | undefined
  let acts: readonly Act[]
  let image: string
  beforeAll(async () => {
    programs = openPrograms()
    registry = await serveRegistry(programs.dist, join(programs.work, 'registry'))
    image = `127.0.0.1:${registry.port}/app:kill`
    await programs.importBusybox()
    await programs.importBusybox()
    await programs.importBusybox({ store: storeOf('maker') })
    const context = writeContext(programs)
    await programs.run('tsbuild', ['-t', image, '--push', context], { store: storeOf('maker') })
    const files = join(programs.work, 'files')
    const build = ['build', '-o', 'type=image,name=built:kill', '--no-cache', context]
    const unknown = [
      ['rmi', '-f', image],
      ['gc', '-af'],
    ]
    acts = [
      { program: 'tsrun', args: ['pull', image], before: unknown },
      { program: 'tsrun', args: ['unpack', '--force', image, files] },
      // Its layers are unpacked while others arrive.
      { program: 'tsrun', args: ['run', '--rm', image, 'cat', '/sum'], before: unknown },
      { program: 'tsbuild', args: build },
      { program: 'tsbuild', args: [...build, '--target', 'packed'] },
      { program: 'tsrun', args: ['gc', '-af'], before: [['pull', image]] },
      { program: 'tsrun', args: ['rmi', '-f', image], before: [['pull', image]] },
    ]
  }, 120_000)
  afterAll(async () => {
    await registry?.stop('SIGTERM')
    programs[Symbol.dispose]()
  })

  const storeOf = (name: string) => join(programs.work, name)

  it(
    `leaves a store without faults, ${rounds} times`,
    async () => {
      const random = seededRandom('kill-store')
      let killed = 0
      for (let round = 0; round < rounds; round++) {
        const act = acts[round % acts.length] as Act
        await prepare(act)
        const other = round % 3 === 2 ? pick(random) : undefined
        const outcomes = await Promise.all([
          killIn(act, other, random),
          other === undefined ? undefined : killIn(other, act, random),
        ])
        killed += outcomes.filter(outcome => outcome === 'killed').length
        await expectNoFaults()
      }
      expect(killed).toBeGreaterThan(rounds / 4)
      await expectUsable()
    },
    60_000 + rounds * 10_000,
  )

  const pick = (random: Random): Act => acts[Math.floor(random() * acts.length)] as Act

  /** What there is nothing of is no failure: the store is in any state. */
  async function prepare({ before = [] }: Act): Promise<void> {
    for (const args of before) await programs.start('tsrun', args).ended
  }

  const takenMs = new Map<Act, number>()

  /** Killed at any moment of the time that it took at most until now. */
  async function killIn(
    act: Act,
    beside: Act | undefined,
    random: Random,
  ): Promise<'killed' | 'ended'> {
    const { child, ended } = programs.start(act.program, act.args)
    const timer = new AbortController()
    const wait = 100 + random() * (takenMs.get(act) ?? 500)
    void sleep(wait, undefined, { signal: timer.signal }).then(
      () => child.kill('SIGKILL'),
      () => {},
    )
    const { code, milliseconds, stderr } = await ended
    timer.abort()
    if (code === null) return 'killed'
    // The other one may have taken, or be holding, what this one needs.
    expect(beside === undefined ? [0] : [0, 1, 125], stderr).toContain(code)
    takenMs.set(act, Math.max(takenMs.get(act) ?? 0, milliseconds))
    return 'ended'
  }

  async function expectNoFaults(): Promise<void> {
    expect(await processesLeft(programs)).toEqual([])
    expect(mountsOf(programs)).toEqual([])
    const { code, stdout, stderr } = await programs.start('tsrun', ['fsck']).ended
    expect(stderr).toBe('')
    expect(stdout).toMatch(/No faults\n$/)
    expect(code).toBe(0)
  }

  async function expectUsable(): Promise<void> {
    const [files, fresh] = [join(programs.work, 'last'), join(programs.work, 'fresh')]
    for (const [store, directory] of [['store', files] as const, ['maker', fresh] as const]) {
      const call = { store: storeOf(store) }
      rmSync(directory, { recursive: true, force: true })
      mkdirSync(directory)
      await programs.run('tsrun', ['pull', image], call)
      await programs.run('tsrun', ['unpack', image, directory], call)
    }
    expect(contentsOf(files)).toEqual(contentsOf(fresh))
    expect(await damagedBlobs(storeOf('store'))).toEqual([])
    expect(underWay(storeOf('store'))).toEqual([])
  }
})
