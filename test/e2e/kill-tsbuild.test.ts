/** kill -9 of tsbuild at any moment: nothing stays, and the next build is as good as the first. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { contentsOf, writeContext } from './kill/image.ts'
import {
  abandonedCgroups,
  damagedBlobs,
  mountsOf,
  processesLeft,
  underWay,
} from './kill/leftovers.ts'
import { seededRandom } from './kill/moments.ts'
import { openPrograms, type Programs } from './kill/programs.ts'

/** KILL_ROUNDS makes it longer. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 16)

describeWith(['root', 'busybox'], 'kill -9 of tsbuild', () => {
  let programs: Programs
  let context: string
  beforeAll(() => {
    programs = openPrograms()
    context = writeContext(programs)
  })
  afterAll(() => programs[Symbol.dispose]())

  const archive = () => join(programs.work, 'out.tar')
  const buildArgs = (...extra: string[]) => [
    ...['build', '--progress', 'plain', '-o', 'type=image,name=app:kill'],
    ...['-o', `type=oci,dest=${archive()}`, ...extra, context],
  ]

  it(`leaves no process, no mount and no half of a file, ${rounds} times`, async () => {
    const random = seededRandom('kill-tsbuild')
    const store = join(programs.work, 'store')
    await programs.importBusybox()
    const { milliseconds } = await programs.run('tsbuild', buildArgs())
    let killed = 0
    for (let round = 0; round < rounds; round++) {
      rmSync(archive(), { force: true })
      const { child, ended } = programs.start('tsbuild', roundArgs(round))
      await sleep(random() * milliseconds)
      child.kill('SIGKILL')
      const { code, stderr } = await ended
      // Done already, or killed; it never fails of what an earlier round left.
      expect([0, null], stderr).toContain(code)
      if (code === null) killed++
      expect(await processesLeft(programs)).toEqual([])
      expect(mountsOf(programs)).toEqual([])
      await expectWholeOrAbsent(archive())
    }
    expect(killed).toBeGreaterThan(rounds / 4)
    await programs.run('tsbuild', buildArgs())
    expect(underWay(store)).toEqual([])
    expect(abandonedCgroups()).toEqual([])
    expect(await damagedBlobs(store)).toEqual([])
    await expectWholeOrAbsent(archive())
    expect(await filesBuilt('store')).toEqual(await filesBuilt('fresh'))
  })

  /** Every third round runs all steps, the others find what earlier rounds got done. */
  function roundArgs(round: number): string[] {
    return round % 3 === 0 ? buildArgs('--no-cache') : buildArgs()
  }

  async function expectWholeOrAbsent(path: string): Promise<void> {
    if (!existsSync(path)) return
    const layout = join(programs.work, 'layout')
    mkdirSync(layout)
    execFileSync('tar', ['-C', layout, '-xf', path])
    expect(existsSync(join(layout, 'index.json'))).toBe(true)
    expect(await damagedBlobs(layout)).toEqual([])
    rmSync(layout, { recursive: true })
  }

  /** The image's files, built in a store that may be new. */
  async function filesBuilt(name: string): Promise<string[]> {
    const store = join(programs.work, name)
    const directory = join(programs.work, `${name}-files`)
    if (!existsSync(store)) {
      await programs.importBusybox({ store })
    }
    await programs.run('tsbuild', ['build', '-o', directory, context], { store })
    return contentsOf(directory)
  }
})
