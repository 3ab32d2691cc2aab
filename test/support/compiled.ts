/**
 * The program as plain JavaScript, for tests that need real child processes: Node 20 runs no
 * TypeScript. Compiled once per test file into a directory of its own, in about a second.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

export interface Compiled extends Disposable {
  /** Holds `oci/`, `layerfs/` … as `.js` files. */
  readonly dist: string
}

/** Type errors are no matter here: `npm run types` reports them. Throws when nothing was emitted. */
export function compileSources(): Compiled {
  const root = mkdtempSync(join(tmpdir(), 'tsbuild-compiled-'))
  const dist = join(root, 'dist')
  for (const name of ['build', 'node_modules']) symlinkSync(join(checkout, name), join(root, name))
  cpSync(join(checkout, 'package.json'), join(root, 'package.json'))
  const { stdout } = spawnSync(
    process.execPath,
    [
      join(checkout, 'node_modules/typescript/bin/tsc'),
      ...['-p', join(checkout, 'tsconfig.build.json'), '--outDir', dist],
      ...['--declaration', 'false', '--isolatedDeclarations', 'false'],
    ],
    { encoding: 'utf8' },
  )
  if (!existsSync(join(dist, 'layerfs'))) throw new Error(`Cannot compile the sources: ${stdout}`)
  return { dist, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}
