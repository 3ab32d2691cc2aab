/**
 * How long a container takes from nothing to gone, beside other runtimes, and whether many of them
 * leave anything.
 *
 *   npm run bench -- sandbox [--quick]
 *
 * As root. crun refuses machines where cgroups of both versions are mounted; there it is measured by a
 * process of its own that does not see the second.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { runSandbox } from '../../src/layerfs/sandbox/run.ts'
import { type DockerDaemon, startDocker } from '../../test/e2e/docker-daemon.ts'
import { cleanEnvironment, command, contest, isThere, median, table } from '../measure.ts'
import { makePlace, type Place, type PreparedRun } from './place.ts'

const isQuick = process.argv.includes('--quick')
const checkout = process.cwd()
const native = `${checkout}/build/native/sandbox`

/** The native program as our processes start it: operations on 3, records on 4. */
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

function runOther(program: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: cleanEnvironment,
    })
    const said: Buffer[] = []
    child.stderr.on('data', chunk => said.push(chunk))
    child.on('error', reject)
    child.on('close', code => {
      if (code === 0) resolve()
      else reject(new Error(`${program} ended with ${code}: ${Buffer.concat(said)}`))
    })
  })
}

let containers = 0
const name = () => `tsbuild-bench-${process.pid}-${containers++}`

interface Contestant {
  readonly title: string
  readonly work: () => Promise<unknown>
  /** How long each of so many runs took, where that is not for `work` to tell. */
  readonly measure?: (runs: number) => Promise<number[]>
  /** Not measured, as others have none of it here. */
  readonly before?: () => void
  readonly after?: () => void
}

/** What it does is measured, its cgroup not: of crun and runc those are switched off, too. */
function nativeContestant(title: string, prepare: () => PreparedRun): Contestant {
  let prepared: PreparedRun | undefined
  return {
    title,
    before: () => {
      prepared = prepare()
    },
    work: () => runNative((prepared as PreparedRun).operations),
    after: () => prepared?.[Symbol.dispose](),
  }
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
    nativeContestant('sandbox (native program)', () => place.prepare('none')),
    nativeContestant('sandbox, bridge network', () => place.prepare('bridge')),
    { title: 'runSandbox() in a running Node', work: inProcess },
  ]
  const bundle = ['run', '--bundle', place.bundle]
  if (isThere('crun')) list.push(crunContestant(place))
  if (isThere('runc')) {
    const global = ['--root', `${place.directory}/runc`]
    list.push({ title: 'runc', work: () => runOther('runc', [...global, ...bundle, name()]) })
  }
  return list
}

function runCrun(directory: string): Promise<void> {
  const global = ['--root', `${directory}/crun`, '--cgroup-manager=disabled']
  return runOther('crun', [...global, 'run', '--bundle', `${directory}/bundle`, name()])
}

function crunContestant({ directory }: Place): Contestant {
  const title = 'crun'
  const { v1, v2 } = cgroupHierarchies()
  if (v2 === undefined || Object.keys(v1).length === 0) {
    return { title, work: () => runCrun(directory) }
  }
  const script = 'umount "$1" && shift && exec "$@"'
  const args = ['-m', 'sh', '-c', script, 'sh', v2, process.execPath, process.argv[1] ?? '']
  const measure = async (runs: number) =>
    JSON.parse(command('unshare', [...args, '--crun', directory, `${runs}`])) as number[]
  return { title, work: () => measure(1), measure }
}

async function usable(list: readonly Contestant[]): Promise<Contestant[]> {
  const found: Contestant[] = []
  for (const one of list) {
    one.before?.()
    try {
      await one.work()
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
  return { title: 'docker run', work: () => daemon.docker(args) }
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
  const runs = isQuick ? 20 : 100
  const times: number[][] = []
  // Each by itself: what one leaves for the kernel to take down would slow the next.
  for (const { work, measure: own, ...around } of list) {
    if (own !== undefined) times.push(await own(runs))
    else times.push(...(await contest(runs, { works: [work], ...around })))
  }
  const rows = list.map(({ title }, index) => {
    const values = times[index] ?? []
    return [title, Math.min(...values).toFixed(2), median(values).toFixed(2)]
  })
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

const [option, crunDirectory = '', runs = ''] = process.argv.slice(2)
if (option === '--crun') {
  const [times] = await contest(Number(runs), { works: [() => runCrun(crunDirectory)] })
  console.log(JSON.stringify(times))
} else {
  using place = makePlace()
  await measure(place)
  await leak(place)
}
