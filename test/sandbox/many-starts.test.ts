/**
 * Many starts leave nothing: no mount, cgroup, interface, process, descriptor or memory. In short
 * here; `npm run long -- starts` has a thousand one after the other and two hundred at once.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { type Box, makeBox, missing, run } from './box.ts'

const starts = Number(process.env['SANDBOX_STARTS'] ?? 40)
const atOnce = Math.ceil(starts / 5)

describe.skipIf(missing !== undefined)(`${starts} starts${missing ? ` (${missing})` : ''}`, () => {
  test(
    `and ${atOnce} at once leave nothing`,
    async () => {
      using box = makeBox()
      const root = { kind: 'overlay' as const, lower: [box.layer] }
      const start = async (number: number) => {
        const network = number % 4 === 0 ? ('bridge' as const) : ('none' as const)
        // Not those of a container alone: a memory cgroup takes the kernel time to be rid of.
        const limits = number % 10 === 0 ? { pids: 100 } : {}
        expect(await run(box, 'echo here', { root, network, limits })).toMatchObject({
          code: 0,
          stdout: 'here\n',
        })
      }
      // What is made once and kept: the bridge, its rules, caches.
      await Promise.all([0, 1, 2, 3].map(start))
      const [before, memory] = [leftovers(box), residentMemory()]
      for (let number = 0; number < starts; number++) await start(number)
      await Promise.all(Array.from({ length: atOnce }, (_, number) => start(4 * number)))
      // The kernel takes namespaces and cgroups down on its own time.
      await expect.poll(() => leftovers(box), { timeout: 20_000 }).toEqual(before)
      expect(residentMemory() - memory).toBeLessThan(64 * 1024 * 1024)
    },
    60_000 + starts * 1000,
  )
})

interface Leftovers {
  readonly mounts: string[]
  readonly cgroups: string[]
  readonly processes: number
  readonly descriptors: number
}

/** Ours alone: other tests run beside this one. Addresses are locks, that is descriptors of monitors. */
function leftovers(box: Box): Leftovers {
  return {
    mounts: readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter(line => line.includes(box.directory)),
    cgroups: ourCgroups(),
    processes: ourProcesses(),
    descriptors: readdirSync('/proc/self/fd').length,
  }
}

function ourCgroups(): string[] {
  const { v1, v2 } = cgroupHierarchies()
  const mounts = new Set([...(v2 === undefined ? [] : [v2]), ...Object.values(v1)])
  return [...mounts].flatMap(mount => {
    try {
      return readdirSync(join(mount, 'tsbuild')).filter(name => name.includes(`.${process.pid}.`))
    } catch {
      return []
    }
  })
}

/** Monitors and what they started are our children. */
function ourProcesses(): number {
  return readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean)
    .length
}

function residentMemory(): number {
  return process.memoryUsage.rss()
}
