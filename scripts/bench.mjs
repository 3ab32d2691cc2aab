// Benchmarks: `node scripts/bench.mjs AREA [--quick]` compiles bench/AREA beside the sources into a
// directory of its own, which it removes, and runs its main.ts, beside the programs of `npm run build`.
// Node 20 runs no TypeScript.
import { spawn, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const checkout = fileURLToPath(new URL('..', import.meta.url))
const areas = readdirSync(join(checkout, 'bench')).filter(name =>
  existsSync(join(checkout, 'bench', name, 'main.ts')),
)
const [area = '', ...flags] = process.argv.slice(2)
if (!areas.includes(area)) {
  console.error(`Usage: npm run bench -- ${areas.join('|')} [--quick]`)
  process.exit(125)
}

if (!existsSync(join(checkout, 'dist/cli/tsbuild.js'))) {
  console.error('The programs are measured as they are built: npm run build')
  process.exit(125)
}
const root = mkdtempSync(join(tmpdir(), 'tsbuild-bench-'))
// In memory: what a benchmark that was stopped left there would be missed by everything after it.
const place = existsSync('/dev/shm') ? mkdtempSync('/dev/shm/tsbuild-bench-') : root
let child
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child?.kill(signal))
try {
  for (const name of ['build', 'dist', 'node_modules'])
    symlinkSync(join(checkout, name), join(root, name))
  cpSync(join(checkout, 'package.json'), join(root, 'package.json'))
  const compiler = join(checkout, 'node_modules/typescript/bin/tsc')
  const args = [compiler, '-p', join(checkout, 'bench/tsconfig.json'), '--outDir', root]
  // Type errors are no matter here: `npm run types` reports them.
  spawnSync(process.execPath, args, { stdio: 'ignore' })
  child = spawn(process.execPath, [join(root, 'bench', area, 'main.js'), ...flags], {
    stdio: 'inherit',
    env: { ...process.env, TSBUILD_BENCH_PLACE: place },
    // A group of its own, with the daemons that it starts.
    detached: true,
  })
  process.exitCode = await new Promise(resolve => {
    child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 130)))
  })
} finally {
  endAll(child?.pid)
  for (const path of [place, root]) {
    for (const mount of mountsBelow(path)) spawnSync('umount', ['-l', mount], { stdio: 'ignore' })
    rmSync(path, { recursive: true, force: true, maxRetries: 20 })
  }
}

/** What it started and did not end. */
function endAll(group) {
  if (group === undefined) return
  try {
    process.kill(-group, 'SIGKILL')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

/** The last mounted first. */
function mountsBelow(path) {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4] ?? '')
    .filter(mount => mount.startsWith(`${path}/`))
    .reverse()
}
