/**
 * Builds, beside BuildKit: the same Dockerfiles by both in one run, in turns.
 *
 *   npm run bench -- builder [--quick] [words of a title]
 *
 * As root, on a tmpfs as bench/layerfs; buildkitd and buildctl are on the PATH or in
 * TSBUILD_BUILDKIT. The daemon is up and warm before it is measured; ours begins with a process.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { contest, median, table } from '../measure.ts'
import { startOurs } from '../registry/servers.ts'
import { type BuildCase, type BuildPlace, cases, pushBases } from './cases.ts'
import { type Contestant, startBuildkit, startTsbuild } from './contestants.ts'

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
    await using tsbuild = startTsbuild(root)
    await using buildkit = await startBuildkit(join(root, 'buildkit'), registry.port)
    if (buildkit === undefined) {
      process.stdout.write('Without BuildKit: no buildkitd on the PATH or in TSBUILD_BUILDKIT\n')
    }
    const contestants = [tsbuild, ...(buildkit === undefined ? [] : [buildkit])]
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
    const head = ['case', 'ours', 'BuildKit', 'ratio', 'goal', '', 'memory', 'BuildKit', 'size']
    process.stdout.write(table(head, rows))
    process.stdout.write(`Medians of ${runs} runs that take turns\n`)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function rowOf(
  each: BuildCase,
  casePlace: BuildPlace,
  contestants: readonly Contestant[],
): Promise<string[]> {
  const work = await each.prepare(casePlace)
  for (const contestant of contestants) {
    await contestant.forget()
    await work(contestant, -1)
    contestant.takePeakMemory()
  }
  const [ours = [], theirs] = await contest(runs, {
    works: contestants.map(contestant => (run: number) => work(contestant, run)),
    before: () =>
      each.isCold === true ? Promise.all(contestants.map(other => other.forget())) : undefined,
  })
  const memory = contestants.map(contestant => contestant.takePeakMemory())
  const isSmall = (memory[0] ?? 0) <= mostMemory
  const sizes = contestants.map(contestant => each.sizeOf?.(casePlace, contestant))
  const shownMemory = memory.map(bytes => `${(bytes / 2 ** 20).toFixed(0)} MiB`)
  if (theirs === undefined) {
    return [each.title, shown(median(ours)), '', '', '', verdict(isSmall), ...shownMemory]
  }
  // Of each run its own: what else the machine did then hit both.
  const ratio = median(ours.map((ms, run) => ms / (theirs[run] ?? Number.NaN)))
  const [ownSize = 1, otherSize = 1] = sizes
  const isMet = ratio <= each.goal && isSmall && ownSize <= otherSize * 1.03
  return [
    each.title,
    shown(median(ours)),
    shown(median(theirs)),
    `${ratio.toFixed(2)}×`,
    `${each.goal}×`,
    verdict(isMet),
    ...shownMemory,
    each.sizeOf === undefined ? '' : `${(ownSize / otherSize).toFixed(3)}×`,
  ]
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'MISSED'
}

function shown(ms: number): string {
  return ms < 100 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`
}
