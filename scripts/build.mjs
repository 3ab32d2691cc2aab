// Builds everything a checkout needs: JavaScript into dist/, native code into build/native/.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildNative } from './build-native.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const compiler = join(root, 'node_modules/typescript/bin/tsc')

// `npm install tsbuild` as a dependency runs no prepare; a checkout without its tools does.
if (!existsSync(compiler)) {
  console.error('tsbuild: skipping the build: the development dependencies are not installed')
  process.exit(0)
}
rmSync(join(root, 'dist'), { recursive: true, force: true })
const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)
for (const name of ['tsbuild', 'tsregistry', 'tsrun']) {
  const entry = join(root, `dist/cli/${name}.js`)
  if (existsSync(entry)) chmodSync(entry, 0o755)
}
buildNative(root)
