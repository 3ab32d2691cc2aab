/** Several processes on one store at once: builds, pulls, removals, prunes. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type ServedRegistry, serveRegistry } from '../registry/server/program.ts'
import { describeWith } from '../support/requires.ts'
import { writeContext } from './kill/image.ts'
import {
  abandonedCgroups,
  damagedBlobs,
  mountsOf,
  processesLeft,
  processesOf,
  underWay,
} from './kill/leftovers.ts'
import { seededRandom } from './kill/moments.ts'
import { type Ended, openPrograms, type Programs } from './kill/programs.ts'

const atOnce = Number(process.env['KILL_BUILDS'] ?? 4)

describeWith(['root', 'busybox'], 'several processes on one store', () => {
  let programs: Programs
  let registry: ServedRegistry | undefined
  let context: string
  let image: string
  beforeAll(async () => {
    programs = openPrograms()
    registry = await serveRegistry(programs.dist, join(programs.work, 'registry'))
    context = writeContext(programs)
    image = `127.0.0.1:${registry.port}/app:shared`
    await programs.importBusybox()
    await programs.run('tsbuild', ['-t', image, '--push', context])
  })
  afterAll(async () => {
    await registry?.stop('SIGTERM')
    programs[Symbol.dispose]()
  })

  async function expectWhole(store: string): Promise<void> {
    expect(await processesLeft(programs)).toEqual([])
    expect(mountsOf(programs)).toEqual([])
    expect(underWay(store)).toEqual([])
    expect(await damagedBlobs(store)).toEqual([])
  }

  it('four that pull and run one image into an empty store all succeed', async () => {
    const store = join(programs.work, 'pulled')
    const args = ['--rm', image, 'sh', '-c', 'cat /sum && ls -d /opt/tools /work/made']
    const runs = [1, 2, 3, 4].map(() => programs.run('tsrun', args, { store }))
    const outputs = (await Promise.all(runs)).map(({ stdout }) => stdout)
    expect(new Set(outputs).size).toBe(1)
    expect(outputs[0]).toMatch(/^[0-9a-f]{32} {2}\/data\/random\n\/opt\/tools\n\/work\/made\n$/)
    await expectWhole(store)
  })

  it('builds of one Dockerfile at once run each step once, and agree', async () => {
    const store = join(programs.work, 'built')
    await programs.importBusybox({ store })
    const builds = [1, 2, 3].map(number =>
      programs.run('tsbuild', ['--progress', 'plain', '-t', `app:${number}`, context], { store }),
    )
    const logs = (await Promise.all(builds)).map(({ stdout, stderr }) => stdout + stderr)
    const digests = logs.map(log => /exporting manifest (sha256:[0-9a-f]{64})/.exec(log)?.[1])
    expect(new Set(digests).size).toBe(1)
    const cache = join(store, 'cache-mounts')
    const [id = ''] = readdirSync(cache)
    expect(readFileSync(join(cache, id, '0/log'), 'utf8')).toBe('hit\n')
    await expectWhole(store)
  })

  it(`${atOnce} builds at once, killed at random, leave what the next one makes right`, async () => {
    const store = join(programs.work, 'killed')
    await programs.importBusybox({ store })
    const random = seededRandom('kill-sharing')
    const { milliseconds } = await programs.run('tsbuild', ['-t', 'app:whole', context], { store })
    const ends = await Promise.all(
      Array.from({ length: atOnce }, async (_, number) => {
        const flags = number % 2 === 0 ? ['--no-cache'] : ['--no-cache-filter', 'build']
        const args = [...flags, '-t', `app:${number}`, context]
        const { child, ended } = programs.start('tsbuild', args, { store })
        await sleep(random() * milliseconds)
        child.kill('SIGKILL')
        return await ended
      }),
    )
    for (const { code, stderr } of ends) expect([0, null], stderr).toContain(code)
    expect(ends.some(({ code }) => code === null)).toBe(true)
    await programs.run('tsbuild', ['-t', 'app:last', context], { store })
    const checked = await programs.start('tsbuild', ['fsck'], { store }).ended
    expect(checked.code, checked.stdout).toBe(0)
    const sumOf = async (name: string) =>
      (await programs.run('tsrun', ['--rm', '--network', 'none', name, 'cat', '/sum'], { store }))
        .stdout
    expect(await sumOf('app:last')).toBe(await sumOf('app:whole'))
    await expectWhole(store)
  })

  it('removals and prunes beside builds and runs take nothing that is in use', async () => {
    const store = join(programs.work, 'pruned')
    await programs.importBusybox({ store })
    let isBuilding = true
    const cleaning = (async () => {
      const ends: Ended[] = []
      while (isBuilding) {
        ends.push(await programs.start('tsbuild', ['rmi', '-f', 'app:pruned'], { store }).ended)
        ends.push(
          await programs.start('tsbuild', ['prune', '-fa', '--timeout', '0s'], { store }).ended,
        )
        await sleep(20)
      }
      return ends
    })()
    try {
      for (let round = 0; round < 3; round++) {
        const flags = round % 2 === 0 ? ['--no-cache'] : []
        await programs.run('tsbuild', [...flags, '-t', 'app:pruned', context], { store })
        await programs.importBusybox({ store })
        await programs.run('tsrun', ['--rm', image, 'cat', '/sum'], { store })
      }
    } finally {
      isBuilding = false
    }
    for (const { code, stderr } of await cleaning) {
      // Refused while another brings something in; never anything else.
      if (code !== 0) expect(stderr).toContain('another process is using it')
    }
    await expectWhole(store)
  })

  it('a run without limits removes the cgroups of a killed one that had some', async () => {
    const limits = ['--memory', '64m', '--cpus', '1', '--pids-limit', '50']
    const store = join(programs.work, 'pulled')
    const args = ['--rm', ...limits, image, 'sleep', '60']
    const { child, ended } = programs.start('tsrun', args, { store })
    const isAsleep = () => processesOf(programs).some(line => line.endsWith(': sleep 60 '))
    await expect.poll(isAsleep, { timeout: 20_000 }).toBe(true)
    child.kill('SIGKILL')
    await ended
    expect(await processesLeft(programs)).toEqual([])
    expect(abandonedCgroups().some(existsSync)).toBe(true)
    await programs.run('tsrun', ['--rm', image, 'true'], { store })
    expect(abandonedCgroups()).toEqual([])
  })
})
