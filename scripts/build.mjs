// Builds everything a checkout needs: JavaScript into dist/, native code into build/native/.
import { spawnSync } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildNative } from './build-native.mjs'
import { bundle } from './bundle.mjs'
import { keepCode } from './keep-code.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const compiler = join(root, 'node_modules/typescript/bin/tsc')

// `npm install tsbuild` as a dependency runs no prepare; a checkout without its tools does.
if (!existsSync(compiler)) {
  console.error('tsbuild: skipping the build: the development dependencies are not installed')
  process.exit(0)
}
// Beside it and renamed: a build that fails leaves the programs of the last one whole.
const fresh = join(root, `build/dist-${process.pid}`)
const { status } = spawnSync(
  process.execPath,
  [compiler, '-p', 'tsconfig.build.json', '--outDir', fresh],
  { cwd: root, stdio: 'inherit' },
)
if (status !== 0) {
  rmSync(fresh, { recursive: true, force: true })
  process.exit(status ?? 1)
}
await bundle(fresh, join(root, 'src/cli/launcher.cjs'))
rmSync(join(root, 'dist'), { recursive: true, force: true })
renameSync(fresh, join(root, 'dist'))
buildNative(root)
await keepCode(join(root, 'dist/cli'))
