/**
 * `tsrun gc` in a loop beside builds, pulls, runs and removals: nothing fails, nothing waits for the
 * others to end, and the store is whole.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ServedRegistry, serveRegistry } from '../registry/server/program.ts'
import { describeWith } from '../support/requires.ts'
import { writeContext } from './kill/image.ts'
import { openPrograms, type ProgramName, type Programs } from './kill/programs.ts'

/** The long lane has more. */
const rounds = Number(process.env['GC_ROUNDS'] ?? 2)

describeWith(['root', 'busybox'], 'gc beside what uses the store', () => {
  let programs: Programs
  let registry: ServedRegistry | undefined
  let image: string
  beforeAll(async () => {
    programs = openPrograms()
    registry = await serveRegistry(programs.dist, join(programs.work, 'registry'))
    image = `127.0.0.1:${registry.port}/app:gc`
    const maker = { store: join(programs.work, 'maker') }
    await programs.importBusybox(maker)
    await programs.run('tsbuild', ['-t', image, '--push', writeContext(programs)], maker)
    await programs.importBusybox()
  }, 120_000)
  afterAll(async () => {
    await registry?.stop('SIGTERM')
    programs[Symbol.dispose]()
  })

  async function loop(acts: readonly (readonly [ProgramName, ...string[]])[]): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (const [program, ...args] of acts) await programs.run(program, args)
    }
  }

  it(
    `takes nothing that is in use, in ${rounds} rounds of everything at once`,
    async () => {
      const context = join(programs.work, 'context')
      const files = join(programs.work, 'files')
      let isDone = false
      let collections = 0
      const collecting = async () => {
        while (!isDone) {
          const { stderr } = await programs.run('tsrun', ['gc', '-af', '--timeout', '0s'])
          expect(stderr).toBe('')
          collections++
        }
      }
      const working = Promise.all([
        loop([['tsbuild', '-t', 'built', '--no-cache', context]]),
        loop([
          ['tsbuild', '-t', 'again', context],
          ['tsrun', 'run', '--rm', 'again', 'cat', '/sum'],
        ]),
        loop([
          ['tsrun', 'pull', image],
          ['tsrun', 'unpack', '--force', image, files],
          ['tsrun', 'run', '--rm', image, 'cat', '/sum'],
          ['tsrun', 'rmi', image],
        ]),
      ]).finally(() => {
        isDone = true
      })
      await Promise.all([working, collecting()])
      expect(collections).toBeGreaterThan(rounds)
      const { stdout } = await programs.run('tsrun', ['fsck'])
      expect(stdout).toMatch(/No faults\n$/)
      await programs.run('tsrun', ['rmi', '-f', 'built', 'again', 'busybox'])
      await programs.run('tsrun', ['gc', '-af'])
      const left = await programs.run('tsrun', ['fsck', '--format', 'json'])
      expect(JSON.parse(left.stdout).use).toMatchObject({
        images: { bytes: 0 },
        unused: { bytes: 0 },
        cache: { files: expect.any(Number) },
      })
    },
    60_000 + rounds * 20_000,
  )
})
