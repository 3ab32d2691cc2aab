/** Base images made on the spot: Debian by mmdebstrap, Node of the Node that runs the tests. */
import { copyFileSync, cpSync, existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from './process.ts'
import { fixture, type Store, type Workspace } from './workspace.ts'

/** Gives the store an image `debian`. */
export async function importDebian(store: Store, work: Workspace): Promise<void> {
  const archive = work.path('debian.tar')
  await run('mmdebstrap', ['--quiet', '--variant=apt', 'bookworm', archive], {
    env: work.env,
    timeoutMs: 280_000,
  })
  await store.tsbuild(['import', archive, 'debian'])
}

/** Gives a store that has `debian` an image `node`. */
export async function buildNode(store: Store, work: Workspace): Promise<void> {
  const context = work.path('node-base')
  cpSync(fixture('node-base'), context, { recursive: true })
  copyFileSync(process.execPath, join(context, 'node'))
  cpSync(npmDirectory(), join(context, 'npm'), { recursive: true })
  await store.tsbuild(['-t', 'node', context])
}

/** The npm that belongs to this Node, else the one that runs the tests. */
function npmDirectory(): string {
  const beside = join(dirname(realpathSync(process.execPath)), '../lib/node_modules/npm')
  if (existsSync(beside)) return beside
  const script = process.env['npm_execpath']
  if (script === undefined) throw new Error(`Cannot find the npm of ${process.execPath}`)
  return join(dirname(realpathSync(script)), '..')
}
