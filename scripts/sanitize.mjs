// Builds the native code with AddressSanitizer and UndefinedBehaviorSanitizer into build/sanitized/
// and runs tests on it: `npm run sanitize [-- TEST-FILES]`, without any those of the sandbox.
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildNative } from './build-native.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = join(root, 'build/sanitized')
const library = name =>
  spawnSync('cc', [`-print-file-name=lib${name}.so`], { encoding: 'utf8' }).stdout.trim()

buildNative(root, {
  out,
  extra: [
    '-g',
    '-fno-omit-frame-pointer',
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=all',
  ],
  // No sanitizer can be linked statically as a whole.
  sandbox: [
    '-static-libasan',
    '-static-libubsan',
    join(root, 'src/layerfs/native/sanitized/options.c'),
  ],
})
// The system's ps and pgrep hang when they are loaded with them.
const programs = join(out, 'programs')
mkdirSync(programs, { recursive: true })
for (const name of ['ps', 'pgrep']) {
  const script = `#!/bin/sh\nLD_PRELOAD= exec /usr/bin/${name} "$@"\n`
  writeFileSync(join(programs, name), script, { mode: 0o755 })
}
const files = process.argv.slice(2)
const { status } = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    ...(files.length > 0 ? files : ['--project', 'sandbox']),
  ],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      TSBUILD_NATIVE: out,
      PATH: `${programs}:${process.env['PATH']}`,
      // The addon is loaded by Node, which was not built so. Node itself leaks at its end.
      LD_PRELOAD: [library('asan'), library('ubsan')].join(' '),
      ASAN_OPTIONS: 'detect_leaks=0:exitcode=99',
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:exitcode=99',
    },
  },
)
process.exit(status ?? 1)
