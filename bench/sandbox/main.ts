/**
 * How long a container takes from nothing to gone, beside other runtimes, and whether many of them
 * leave anything.
 *
 *   npm run bench -- sandbox [--quick]
 *
 * As root. All but Docker and our own library are started by a small process, which measures their
 * time and nothing of Node's. crun refuses machines where cgroups of both versions are mounted; there it
 * does not see the second.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { runSandbox } from '../../src/layerfs/sandbox/run.ts'
import { type DockerDaemon, startDocker } from '../../test/e2e/docker-daemon.ts'
import { cleanEnvironment, command, isThere, median, table } from '../measure.ts'
import { makePlace, type Place, type PreparedRun } from './place.ts'

const isQuick = process.argv.includes('--quick')
const checkout = process.cwd()
const native = `${checkout}/build/native/sandbox`

/** The native program as a container's caller starts it: operations on 3, records on 4. */
function runNative(operations: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(native, [], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe'],
      env: {},
    })
    const records: Buffer[] = []
    const input = child.stdio[3] as NodeJS.WritableStream
    input.write(operations)
    ;(child.stdio[4] as NodeJS.ReadableStream).on('data', chunk => records.push(chunk))
    child.on('error', reject)
    child.on('close', () => {
      input.end()
      const text = Buffer.concat(records).toString('latin1')
      if (text.includes('exit\u00000\u0000')) resolve()
      else reject(new Error(text.replaceAll('\0', ' ')))
    })
  })
}

let containers = 0
const name = () => `tsbuild-bench-${process.pid}-${containers++}`

interface Contestant {
  readonly title: string
  /** Once, from nothing to gone: milliseconds. Throws where it does not run. */
  readonly run: () => number | Promise<number>
  /** Not measured, as others have none of it here. */
  readonly before?: () => void
  readonly after?: () => void
}

/** Milliseconds that starter.c measured. */
const timeIn = (output: string) => Number(output.split('\n', 1)[0]) / 1e6

/** Of a program with its arguments. */
const timed = (...run: readonly string[]) => timeIn(command(starter, ['-', ...run]))

function timedNative(operations: string): number {
  const output = command(starter, [operations, native])
  if (output.includes('exit\u00000\u0000')) return timeIn(output)
  throw new Error(output.replaceAll('\0', ' '))
}

/** What it does is measured, its cgroup not: of crun and runc those are switched off, too. */
function nativeContestant(title: string, { directory }: Place, prepare: () => PreparedRun) {
  let prepared: PreparedRun | undefined
  const operations = join(directory, 'operations')
  return {
    title,
    before: () => {
      prepared = prepare()
      writeFileSync(operations, prepared.operations)
    },
    run: () => timedNative(operations),
    after: () => prepared?.[Symbol.dispose](),
  }
}

async function measured(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

function contestants(place: Place): Contestant[] {
  const spec = place.specFor('none')
  const inProcess = () =>
    runSandbox(spec, {
      stdin: 'null',
      output: () => {},
      stubs: `${place.directory}/stubs`,
      id: name(),
    })
  const list: Contestant[] = [
    nativeContestant('sandbox (native program)', place, () => place.prepare('none')),
    nativeContestant('sandbox, bridge network', place, () => place.prepare('bridge')),
    { title: 'runSandbox() in a running Node', run: () => measured(inProcess) },
  ]
  const bundle = ['run', '--bundle', place.bundle]
  if (isThere('crun')) list.push(crunContestant(place))
  if (isThere('runc')) {
    const root = ['--root', `${place.directory}/runc`]
    list.push({ title: 'runc', run: () => timed('runc', ...root, ...bundle, name()) })
  }
  return list
}

function crunContestant({ directory, bundle }: Place): Contestant {
  const { v1, v2 } = cgroupHierarchies()
  const isHybrid = v2 !== undefined && Object.keys(v1).length > 0
  const hidden = ['-m', 'sh', '-c', 'umount "$1" && shift && exec "$@"', 'sh', v2 ?? '']
  const hiding = isHybrid ? ['unshare', ...hidden] : []
  const options = ['--root', `${directory}/crun`, '--cgroup-manager=disabled']
  return {
    title: 'crun',
    run: () => {
      const crun = ['crun', ...options, 'run', '--bundle', bundle, name()]
      const [program = '', ...args] = [...hiding, starter, '-', ...crun]
      return timeIn(command(program, args))
    },
  }
}

async function usable(list: readonly Contestant[]): Promise<Contestant[]> {
  const found: Contestant[] = []
  for (const one of list) {
    one.before?.()
    try {
      await one.run()
      found.push(one)
    } catch (error) {
      console.log(`${one.title}: left out: ${String(error).slice(0, 200)}`)
    }
    one.after?.()
  }
  return found
}

/** Whatever a container could leave on the machine. */
function leftovers(): Record<string, number> {
  const cgroups = command('find', [
    '/sys/fs/cgroup',
    '-maxdepth',
    '3',
    '-type',
    'd',
    '-path',
    '*tsbuild/*',
  ])
  const names = readdirSync('/proc').filter(pid => /^\d+$/.test(pid))
  const isOurs = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sandbox\n'
    } catch {
      return false
    }
  }
  return {
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length,
    cgroups: cgroups.split('\n').length,
    monitors: names.filter(isOurs).length,
    links: command('ip', ['-br', 'link']).split('\n').length,
    descriptors: readdirSync('/proc/self/fd').length,
  }
}

/** The whole of Docker: its command line, its daemon, containerd and runc. */
async function dockerContestant(place: Place, daemon: DockerDaemon): Promise<Contestant> {
  const archive = `${place.directory}/image.tar`
  command('tar', ['-C', place.layer, '-cf', archive, '.'])
  await daemon.docker(['import', archive, 'bench'])
  const args = ['run', '--rm', '--network', 'none', 'bench', '/true']
  return { title: 'docker run', run: () => measured(() => daemon.docker(args)) }
}

async function measure(place: Place): Promise<void> {
  const daemon = isThere('dockerd')
    ? await startDocker({ path: name => `${place.directory}/${name}`, env: cleanEnvironment })
    : undefined
  try {
    const docker = daemon === undefined ? [] : [await dockerContestant(place, daemon)]
    await compete(await usable([...contestants(place), ...docker]))
  } finally {
    await daemon?.stop()
  }
}

async function compete(list: readonly Contestant[]): Promise<void> {
  const rows: string[][] = []
  // Each by itself: what one leaves for the kernel to take down would slow the next.
  for (const { title, run, before, after } of list) {
    const times: number[] = []
    for (let i = 0; i < (isQuick ? 20 : 100); i++) {
      before?.()
      times.push(await run())
      after?.()
    }
    rows.push([title, Math.min(...times).toFixed(2), median(times).toFixed(2)])
  }
  console.log(table(['create → exit of a static true, ms', 'least', 'median'], rows))
}

async function leak(place: Place): Promise<void> {
  const runOnce = async (network: 'none' | 'bridge') => {
    using prepared = place.prepare(network)
    await runNative(prepared.operations)
  }
  const before = leftovers()
  const start = performance.now()
  const sequential = isQuick ? 100 : 1000
  for (let run = 0; run < sequential; run++) await runOnce(run % 10 === 0 ? 'bridge' : 'none')
  const between = performance.now()
  const parallel = isQuick ? 50 : 200
  await Promise.all(Array.from({ length: parallel }, () => runOnce('bridge')))
  const end = performance.now()
  // The kernel takes network namespaces down on its own time.
  await new Promise(resolve => setTimeout(resolve, 2000))
  const seconds = (ms: number) => (ms / 1000).toFixed(2)
  console.log(`${sequential} one after the other: ${seconds(between - start)} s`)
  console.log(`${parallel} at once, with a bridge network: ${seconds(end - between)} s`)
  const after = leftovers()
  console.log(
    table(
      ['left', 'before', 'after'],
      Object.keys(before).map(key => [key, `${before[key]}`, `${after[key]}`]),
    ),
  )
}

using place = makePlace()
const starter = join(place.directory, 'starter')
command('cc', ['-O1', '-static', '-o', starter, join(checkout, 'bench/sandbox/starter.c')])
await measure(place)
await leak(place)
