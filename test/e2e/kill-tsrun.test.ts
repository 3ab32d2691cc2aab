/** kill -9 of tsrun while it pulls, unpacks, starts and runs: the next run works, nothing stays. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
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
import { openPrograms, type Programs } from './kill/programs.ts'

/** KILL_ROUNDS makes it longer. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 20)
/** So that each store is killed in while empty, half full and full. */
const roundsPerStore = 10

describeWith(['root', 'busybox'], 'kill -9 of tsrun', () => {
  let programs: Programs
  let registry: ServedRegistry | undefined
  let image: string
  beforeAll(async () => {
    programs = openPrograms()
    registry = await serveRegistry(programs.dist, join(programs.work, 'registry'))
    image = `127.0.0.1:${registry.port}/app:kill`
    await programs.importBusybox()
    await programs.run('tsbuild', ['-t', image, '--push', writeContext(programs)])
  })
  afterAll(async () => {
    await registry?.stop('SIGTERM')
    programs[Symbol.dispose]()
  })

  const checks = ['--health-cmd', 'setsid sleep 60 & sleep 0.02', '--health-interval', '10ms']
  /** A container with limits, an address and checks; what is left in the background ends with it. */
  const runArgs = (...flags: string[]) => [
    ...['run', ...flags, '--memory', '64m', '--pids-limit', '50', ...checks, image],
    ...['sh', '-c', 'setsid sleep 60 & echo made > /made; sleep 0.2; cat /sum'],
  ]
  it(`leaves no process, mount, address or cgroup, ${rounds} times`, async () => {
    const random = seededRandom('kill-tsrun')
    const links = linksOfBridge().length
    const first = { store: join(programs.work, 'measured') }
    const { milliseconds: whole } = await programs.run('tsrun', runArgs('--rm'), first)
    const { milliseconds: warm } = await programs.run('tsrun', runArgs('--rm'), first)
    for (let round = 0; round < rounds; round++) {
      const store = join(programs.work, `store-${Math.floor(round / roundsPerStore)}`)
      const isFirst = !existsSync(join(store, 'snapshots'))
      const flags = round % 2 === 0 ? ['--rm'] : ['--name', `kept-${round}`]
      const { child, ended } = programs.start('tsrun', runArgs(...flags), { store })
      await sleep(random() * (isFirst ? whole : warm))
      child.kill('SIGKILL')
      const { code, stderr } = await ended
      expect([0, null], stderr).toContain(code)
      expect(await processesLeft(programs)).toEqual([])
      expect(mountsOf(programs)).toEqual([])
      if (round % roundsPerStore === roundsPerStore - 1) await expectUsable(store)
    }
    await expect.poll(() => linksOfBridge().length, { timeout: 5000 }).toBeLessThanOrEqual(links)
  })

  async function expectUsable(store: string): Promise<void> {
    const { stdout } = await programs.run('tsrun', runArgs('--rm'), { store })
    expect(stdout).toMatch(/^[0-9a-f]{32} {2}\/data\/random\n$/)
    expect(underWay(store)).toEqual([])
    expect(abandonedCgroups()).toEqual([])
    expect(await damagedBlobs(store)).toEqual([])
    // Killed runs with --rm are gone; the others are listed, as ended, and can be removed.
    const { stdout: ids } = await programs.run('tsrun', ['ps', '-a', '-q', '--no-trunc'], { store })
    const { stdout: running } = await programs.run('tsrun', ['ps', '-q'], { store })
    expect(running).toBe('')
    const kept = ids.split('\n').filter(id => id !== '')
    expect(kept.length).toBeLessThanOrEqual(roundsPerStore / 2)
    if (kept.length > 0) await programs.run('tsrun', ['rm', ...kept], { store })
    const { stdout: after } = await programs.run('tsrun', ['ps', '-a', '-q'], { store })
    expect(after).toBe('')
  }

  it('leaves nothing when its container ignores every signal', async () => {
    const store = join(programs.work, 'store')
    const stubborn = 'trap "" HUP INT TERM QUIT; setsid sleep 1000 & sleep 1000'
    const { child, ended } = programs.start('tsrun', ['--rm', image, 'sh', '-c', stubborn], {
      store,
    })
    const started = () => processesOf(programs).filter(line => line.includes('sleep 1000')).length
    await expect.poll(started, { timeout: 20_000 }).toBeGreaterThan(2)
    child.kill('SIGKILL')
    await ended
    expect(await processesLeft(programs)).toEqual([])
  })
})

/** Host ends of containers' networks. */
function linksOfBridge(): string[] {
  const text = execFileSync('ip', ['-o', 'link', 'show'], { encoding: 'utf8' })
  return text.split('\n').filter(line => line.includes('master tsrun0'))
}
