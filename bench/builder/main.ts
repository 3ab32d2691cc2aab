/**
 * Builds, beside BuildKit: the same Dockerfiles by both in one run, in turns.
 *
 *   npm run bench -- builder [--quick] [words of a title]
 *
 * As root, on a tmpfs as bench/layerfs; buildkitd and buildctl are on the PATH or in
 * TSBUILD_BUILDKIT. The daemon is up and warm before it is measured; ours begins with a process.
 *
 * BuildKit has two clients. buildctl, its own to debug it with, does the least that a client can: the
 * goals are shares of its time. buildx (`go install github.com/docker/buildx/cmd/buildx@latest`) is what
 * people call, where there is one: of a short build the client is most, so its ratio is what they see.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { contest, median, table } from '../measure.ts'
import { startOurs } from '../registry/servers.ts'
import { startBuildkit } from './buildkit.ts'
import { type BuildCase, type BuildPlace, cases, pushBases } from './cases.ts'
import { type Contestant, startTsbuild } from './contestants.ts'

const tmpfsMagic = 0x01021994
const place = '/dev/shm'
/** As short as that: podman takes no long paths. */
const given = process.env['TSBUILD_BENCH_PLACE']
const mostMemory = 300 * 1024 * 1024

const args = process.argv.slice(2)
const isQuick = args.includes('--quick')
const words = args.filter(arg => !arg.startsWith('--')).join(' ')
const runs = isQuick ? 3 : 5

if (process.getuid?.() !== 0 || statfsSync(place).type !== tmpfsMagic) {
  process.stdout.write(`Skipped: needs root, and a tmpfs at ${place}\n`)
} else {
  await runAll()
}

async function runAll(): Promise<void> {
  const root = given ?? mkdtempSync(join(place, 'tsbuild-bench-'))
  try {
    await using registry = await startOurs()
    const tsbuild = startTsbuild(root)
    await using buildkit = await startBuildkit(join(root, 'buildkit'), registry.port)
    if (buildkit === undefined) {
      process.stdout.write('Without BuildKit: no buildkitd on the PATH or in TSBUILD_BUILDKIT\n')
    }
    const clients = [buildkit?.buildctl, buildkit?.buildx]
    const contestants = [tsbuild, ...clients.filter(client => client !== undefined)]
    const shared = { isQuick, registry: `127.0.0.1:${registry.port}` }
    const bases = join(root, 'bases')
    mkdirSync(bases)
    await pushBases(tsbuild, { ...shared, directory: bases })
    const rows: string[][] = []
    for (const each of cases.filter(({ title }) => title.includes(words))) {
      const directory = join(root, 'case')
      mkdirSync(directory)
      const row = await rowOf(each, { ...shared, directory }, contestants)
      rows.push(row)
      process.stderr.write(`${row.join('  ')}\n`)
      rmSync(directory, { recursive: true, force: true })
    }
    const peers = contestants.slice(1).flatMap(({ name }) => [name, 'ratio'])
    const daemon = buildkit === undefined ? [] : ['buildkitd', 'size']
    const head = ['case', 'ours', ...peers, 'goal', '', 'memory', ...daemon]
    process.stdout.write(table(head, rows))
    process.stdout.write(`Medians of ${runs} runs that take turns\n`)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function rowOf(
  each: BuildCase,
  casePlace: BuildPlace,
  all: readonly Contestant[],
): Promise<string[]> {
  const contestants = each.isLong === true ? all.slice(0, 2) : all
  const work = await each.prepare(casePlace)
  for (const contestant of contestants) await contestant.forget()
  for (const contestant of contestants) await work(contestant, -1)
  for (const contestant of contestants) contestant.takePeakMemory()
  const [ours = [], ...theirs] = await contest(runs, {
    works: contestants.map(contestant => (run: number) => work(contestant, run)),
    before: () =>
      each.isCold === true ? Promise.all(contestants.map(other => other.forget())) : undefined,
  })
  // Of each run its own: what else the machine did then hit all.
  const ratios = theirs.map(times => median(ours.map((ms, run) => ms / (times[run] ?? Number.NaN))))
  const [ownMemory = 0, ...daemonMemory] = contestants
    .slice(0, 2)
    .map(contestant => contestant.takePeakMemory())
  const [ownSize = 1, otherSize = ownSize] = contestants.map(one => each.sizeOf?.(casePlace, one))
  const [ratio] = ratios
  const isFast = ratio === undefined || ratio <= each.goal
  return [
    each.title,
    shown(median(ours)),
    ...all.slice(1).flatMap((_, i) => cellsOf(theirs[i], ratios[i])),
    `${each.goal}×`,
    verdict(isFast && ownMemory <= mostMemory && ownSize <= otherSize * 1.03),
    ...[ownMemory, ...daemonMemory].map(bytes => `${(bytes / 2 ** 20).toFixed(0)} MiB`),
    each.sizeOf === undefined || theirs.length === 0 ? '' : `${(ownSize / otherSize).toFixed(3)}×`,
  ]
}

/** Empty for who was not asked. */
function cellsOf(times: readonly number[] = [], ratio = Number.NaN): string[] {
  return times.length === 0 ? ['', ''] : [shown(median(times)), `${ratio.toFixed(2)}×`]
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'MISSED'
}

function shown(ms: number): string {
  return ms < 100 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`
}
