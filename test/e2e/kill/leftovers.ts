/** What a killed process may leave, and must not. */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Programs } from './programs.ts'

type Whose = Pick<Programs, 'work' | 'dist'>

/** Processes of the test's programs, of their sandboxes and in their containers, in words. */
export function processesOf({ work, dist }: Whose): string[] {
  const home = dist.replace(/\/dist$/, '')
  const isOurs = (text: string) => text.includes(work) || text.includes(home)
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap(pid => {
      const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
      const traces = [command, read(`/proc/${pid}/environ`), exeOf(pid)]
      if (!traces.some(isOurs) || isZombie(pid)) return []
      return [`${pid}: ${exeOf(pid)}: ${command}`]
    })
}

const patienceMs = 10_000

/** Waits for the last of them to go; what is still there then. A registry may go on serving. */
export async function processesLeft(whose: Whose): Promise<string[]> {
  const end = performance.now() + patienceMs
  for (;;) {
    const left = processesOf(whose).filter(line => !line.includes('tsregistry.js serve'))
    if (left.length === 0 || performance.now() > end) return left
    await sleep(10)
  }
}

/** Lines of the machine's mount table that speak of the test's files. */
export function mountsOf({ work }: Whose): string[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .filter(line => line.includes(work))
}

/** Containers' cgroups in all hierarchies whose owner no longer lives, but not of tests before. */
export function abandonedCgroups(): string[] {
  return findAbandoned().filter(path => !before.has(path))
}

function findAbandoned(): string[] {
  const root = '/sys/fs/cgroup'
  return ['.', ...readdirSync(root)].flatMap(hierarchy => {
    const parent = join(root, hierarchy, 'tsbuild')
    const names = existsSync(parent) ? readdirSync(parent) : []
    return names.filter(isAbandoned).map(name => join(parent, name))
  })
}

const before = new Set(findAbandoned())

function isAbandoned(name: string): boolean {
  const pid = /\.(\d+)\.\d+$/.exec(name)?.[1]
  return pid !== undefined && !existsSync(`/proc/${pid}`)
}

/** Places in a store that hold what is under way: empty when nothing is. */
export function underWay(store: string): string[] {
  return ['active', 'tmp', 'ingest'].flatMap(place =>
    (existsSync(join(store, place)) ? readdirSync(join(store, place)) : []).map(name =>
      join(place, name),
    ),
  )
}

/** Blobs of a store, or an OCI layout, whose bytes are not what their names say. */
export async function damagedBlobs(root: string): Promise<string[]> {
  const directory = join(root, 'blobs/sha256')
  const damaged: string[] = []
  for (const name of existsSync(directory) ? readdirSync(directory) : []) {
    const hash = createHash('sha256')
    await pipeline(createReadStream(join(directory, name)), hash)
    if (hash.digest('hex') !== name) damaged.push(name)
  }
  return damaged
}

function isZombie(pid: string): boolean {
  return /^State:\tZ/m.test(read(`/proc/${pid}/status`))
}

function exeOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return ''
  }
}

/** Empty when the process has gone meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
