/**
 * The program as plain JavaScript, for tests that need real child processes: Node 20 runs no
 * TypeScript. Each test file has a copy in a directory of its own.
 */
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

export interface Compiled extends Disposable {
  /** Holds `oci/`, `layerfs/` … as `.js` files. */
  readonly dist: string
}

/**
 * What `npm run build` made, where no source is newer: CI has it, and compiling takes three seconds.
 * Otherwise compiled; type errors are no matter then: `npm run types` reports them. Throws when
 * nothing was emitted.
 */
export function compileSources(): Compiled {
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-compiled-'))
  const dist = join(root, 'dist')
  for (const name of ['build', 'node_modules']) symlinkSync(join(checkout, name), join(root, name))
  cpSync(join(checkout, 'package.json'), join(root, 'package.json'))
  if (!copyFresh(dist)) compileInto(dist)
  return { dist, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}

/** Whether the build is as new as its sources, and so was copied. */
function copyFresh(dist: string): boolean {
  const built = join(checkout, 'dist')
  const made = statSync(join(built, 'cli/tsrun.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const src = join(checkout, 'src')
  const sources = readdirSync(src, { recursive: true, encoding: 'utf8' })
  if (sources.some(name => statSync(join(src, name)).mtimeMs > made)) return false
  cpSync(built, dist, { recursive: true, filter: path => !/\.(d\.ts|map)$/.test(path) })
  return true
}

function compileInto(dist: string): void {
  const compiler = join(checkout, 'node_modules/typescript/bin/tsc')
  const project = ['-p', join(checkout, 'tsconfig.build.json'), '--outDir', dist]
  const unchecked = ['--declaration', 'false', '--isolatedDeclarations', 'false']
  const { stdout } = spawnSync(process.execPath, [compiler, ...project, ...unchecked], {
    encoding: 'utf8',
  })
  if (!existsSync(join(dist, 'layerfs'))) throw new Error(`Cannot compile the sources: ${stdout}`)
}
