/**
 * Layers and images: our times beside those of other tools, and beside the goals.
 *
 *   npm run bench -- layerfs [--quick] [words of a title]
 *
 * Everything happens on a tmpfs: a disk's own time says nothing about ours, and deleting many files
 * from some file systems slows down who makes files next (layerfs/snapshot/trash.ts).
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median, table } from '../measure.ts'
import type { Case, CaseResult } from './case.ts'
import { cases } from './cases.ts'

const tmpfsMagic = 0x01021994
const place = '/dev/shm'
/** As short as that: podman takes no long paths. */
const given = process.env['TSBUILD_BENCH_PLACE']

const args = process.argv.slice(2)
const isQuick = args.includes('--quick')
const caseDirectory = args.find(arg => arg.startsWith('--in='))?.slice('--in='.length)
const words = args.filter(arg => !arg.startsWith('--')).join(' ')

if (caseDirectory === undefined) await runAll()
else await runOne(caseDirectory)

/** As a child: the case named `words`, its result as JSON. */
async function runOne(directory: string): Promise<void> {
  const found = cases.find(({ title }) => title === words)
  if (found === undefined) throw new Error(`No case "${words}"`)
  process.stdout.write(JSON.stringify(await found.run({ directory, isQuick })))
}

async function runAll(): Promise<void> {
  if (process.getuid?.() !== 0 || statfsSync(place).type !== tmpfsMagic) {
    process.stdout.write(`Skipped: needs root, and a tmpfs at ${place}\n`)
    return
  }
  const root = given ?? mkdtempSync(join(place, 'tsbuild-bench-'))
  const start = performance.now()
  const rows: string[][] = []
  try {
    for (const each of cases.filter(({ title }) => title.includes(words))) {
      const directory = join(root, 'case')
      mkdirSync(directory)
      const found = rowsOf(each, await resultOf(each, directory))
      rows.push(...found)
      for (const row of found) process.stderr.write(`${row.join('  ')}\n`)
      rmSync(directory, { recursive: true, force: true, maxRetries: 20 })
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
  const head = ['case', 'ours', 'beside', 'theirs', 'ratio', 'goal', '', 'memory']
  process.stdout.write(table(head, rows))
  process.stdout.write(
    `Medians of runs that take turns. ${((performance.now() - start) / 1000).toFixed(0)} s in all\n`,
  )
}

async function resultOf({ title }: Case, directory: string): Promise<CaseResult> {
  const flags = [`--in=${directory}`, ...(isQuick ? ['--quick'] : [])]
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...flags, title], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const forward = (signal: NodeJS.Signals) => child.kill(signal)
  process.on('SIGINT', forward)
  let text = ''
  for await (const chunk of child.stdout) text += chunk
  process.off('SIGINT', forward)
  return JSON.parse(text) as CaseResult
}

function rowsOf(
  { title }: Case,
  { ours, peakMemory, memoryLimit, detail, references, limitMs }: CaseResult,
): string[][] {
  const time = median(ours)
  const name = `${title} (${detail})`
  const memory = peakMemory === undefined ? '' : memoryCell(peakMemory, memoryLimit)
  if (references.length === 0) {
    const isMet = limitMs === undefined || time <= limitMs
    return [
      [
        name,
        shown(time),
        '',
        '',
        '',
        limitMs === undefined ? '' : `${limitMs} ms`,
        verdict(isMet),
        memory,
      ],
    ]
  }
  return references.map(({ name: other, ms, goal }, i) => {
    // Of each run its own: what else the machine did then hit both.
    const ratio = median(ours.map((each, run) => each / (ms[run] ?? Number.NaN)))
    const first = i === 0 ? [name, shown(time)] : ['', '']
    const target =
      goal === undefined ? ['', ''] : [`${Number(goal.toFixed(2))}×`, verdict(ratio <= goal)]
    const rest = [other, shown(median(ms)), `${ratio.toFixed(2)}×`, ...target]
    return [...first, ...rest, i === 0 ? memory : '']
  })
}

function memoryCell(bytes: number, limit: number | undefined): string {
  const inMiB = `${(bytes / 2 ** 20).toFixed(0)} MiB`
  if (limit === undefined) return inMiB
  return `${inMiB} of ${limit / 2 ** 20} ${verdict(bytes <= limit)}`
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'MISSED'
}

function shown(ms: number): string {
  return ms < 100 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`
}
