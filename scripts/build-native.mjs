// Compiles src/layerfs/native/*/*.c with the system's `cc`. Warnings are errors.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const warnings = ['-std=gnu17', '-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wvla', '-Werror']
const hardening = ['-O2', '-fstack-protector-strong', '-D_FORTIFY_SOURCE=2']

/**
 * `extra`: more compiler flags; `out`: where the programs go; `sandbox`: how that one is linked.
 * Static, as it must run where the machine's libraries are not.
 */
export function buildNative(
  root,
  { extra = [], out = join(root, 'build/native'), sandbox = ['-static'] } = {},
) {
  const native = join(root, 'src/layerfs/native')
  mkdirSync(out, { recursive: true })
  const headers = createRequire(import.meta.url)('node-api-headers').include_dir
  compile('syscalls.node', ['-shared', '-fPIC', `-I${headers}`, ...sources('addon')])
  compile('sandbox', [...sandbox, ...sources('sandbox'), ...sources('bridge')])

  function sources(folder) {
    const files = readdirSync(join(native, folder)).filter(name => name.endsWith('.c'))
    return files.map(name => join(native, folder, name))
  }

  function compile(name, rest) {
    // Written beside and renamed: a running program's file is never half-written.
    const temporary = join(out, `.${name}.${process.pid}`)
    const result = spawnSync(
      'cc',
      [...warnings, ...hardening, ...extra, '-o', temporary, ...rest],
      {
        stdio: 'inherit',
      },
    )
    if (result.error?.code === 'ENOENT') {
      console.error(
        'tsbuild: cannot compile the native code: no C compiler "cc"; install one (Debian: apt-get install gcc libc6-dev)',
      )
      process.exit(1)
    }
    if (result.status !== 0) process.exit(result.status ?? 1)
    renameSync(temporary, join(out, name))
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildNative(fileURLToPath(new URL('..', import.meta.url)))
}
