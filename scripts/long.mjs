// What takes longer than CI has time for, one after the other: `npm run long [-- [--scale N] NAME…]`.
// CONTRIBUTING.md tells what each does. Ends with 1 when one failed, after all have run.
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { targets } from './fuzz/targets.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { scale: { type: 'string', default: '1' } },
})
const scale = Number(values.scale)

const times = number => String(Math.max(1, Math.round(number * scale)))
const tests = (files, env) => ({ command: ['npx', 'vitest', 'run', ...files], env })

const lanes = {
  ...Object.fromEntries(
    Object.keys(targets)
      // Its fault is found on purpose.
      .filter(name => name !== 'maze')
      .map(name => [
        `fuzz-${name}`,
        { command: ['node', 'scripts/fuzz.mjs', name, '--seconds', times(600)] },
      ]),
  ),
  compared: tests(['test/sandbox/build/differential.test.ts'], { TSBUILD_TEST_ALL: '1' }),
  isolations: tests(
    ['run', 'mounts', 'user'].map(name => `test/sandbox/${name}.test.ts`),
    {
      TSBUILD_TEST_ISOLATION: 'oci',
    },
  ),
  kills: tests(['test/e2e/kill-', 'test/layerfs/content/directory-store-processes'], {
    KILL_BUILDS: times(20),
    KILL_ROUNDS: times(200),
  }),
  collections: tests(
    ['test/layerfs/image/collect-interleaving.test.ts', 'test/e2e/gc-online.test.ts'],
    { COLLECT_SCHEDULES: times(20_000), GC_ROUNDS: times(30) },
  ),
  disk: tests(['test/e2e/failing-disk.test.ts'], { FAILING_DISK_POINTS: times(1000) }),
  'kills-registry': tests(['test/registry/server/kill.test.ts'], { TSREGISTRY_KILLS: times(1000) }),
  registry: tests(['test/registry/server/soak.test.ts'], { TSREGISTRY_SOAK_MS: times(600_000) }),
  schedules: tests(['test/registry/storage/garbage/interleaving.test.ts'], {
    TSREGISTRY_SCHEDULES: times(200_000),
  }),
  starts: tests(['test/sandbox/many-starts.test.ts'], { SANDBOX_STARTS: times(1000) }),
  s3: tests(['test/registry/storage/s3', 'test/e2e/s3-replicas.test.ts'], {
    TSREGISTRY_S3_ALL: '1',
    TSREGISTRY_S3_SOAK_MS: times(600_000),
  }),
  sanitized: { command: ['node', 'scripts/sanitize.mjs'] },
}

if (!(scale > 0)) usage(`--scale takes a number above 0, not "${values.scale}"`)
const unknown = positionals.find(name => !Object.hasOwn(lanes, name))
if (unknown !== undefined) usage(`"${unknown}" is none of them`)

const failed = []
for (const name of positionals.length > 0 ? positionals : Object.keys(lanes)) {
  const { command, env = {} } = lanes[name]
  const settings = Object.entries(env).map(([key, value]) => `${key}=${value}`)
  console.log(`\n== ${name}: ${[...settings, ...command].join(' ')}`)
  const [program, ...args] = command
  const { status } = spawnSync(program, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  if (status !== 0) failed.push(name)
}
console.log(failed.length === 0 ? '\nAll passed' : `\nFailed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1

function usage(complaint) {
  console.error(`${complaint}\nUsage: npm run long [-- [--scale N] NAME…]`)
  console.error(`Names: ${Object.keys(lanes).join(', ')}`)
  process.exit(125)
}
