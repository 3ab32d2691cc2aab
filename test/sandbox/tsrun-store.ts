/** The tsrun of these sources with a store of its own, in which the image `bb` is a box's busybox. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { nativeEnvironment } from '../support/native-folder.ts'
import { type Box, makeBox } from './box.ts'

export interface TsrunStore extends Disposable {
  readonly box: Box
  readonly store: string
  /** Of which the image was made. */
  readonly archive: string
  /** A script for `sh`. */
  readonly program: string
  readonly env: Readonly<Record<string, string>>
  /** However it ends. */
  tsrun(...args: string[]): End
  tsbuild(...args: string[]): End
  /** Of a script in which `tsrun` is a command. */
  sh(script: string): End
  /** Of all containers. */
  ids(): string[]
}

export interface End {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * `prepare` may add to what the image is made of. Its containers are the caller's to remove. Throws
 * when the image cannot be imported.
 */
export function makeTsrunStore(prepare: (box: Box) => void = () => {}): TsrunStore {
  const compiled: Compiled = compileSources()
  const box = makeBox()
  const program = join(compiled.dist, 'cli/tsrun.js')
  const store = join(box.directory, 'store')
  const { PATH = '' } = process.env
  const env = { ...nativeEnvironment, PATH, HOME: box.directory, TSBUILD_ROOT: store }
  const run = (...args: string[]): End => {
    const options = { encoding: 'utf8', env, timeout: 30_000 } as const
    const { status, stdout, stderr } = spawnSync('/bin/sh', args, options)
    return { status, stdout, stderr }
  }
  const tsrun = (...args: string[]) => run(program, ...args)
  prepare(box)
  const archive = join(box.directory, 'rootfs.tar')
  spawnSync('tar', ['-C', box.layer, '-cf', archive, '.'])
  const { stderr } = tsrun('import', archive, 'bb')
  if (stderr !== '') throw new Error(stderr)
  return {
    ...{ box, store, archive, program, env, tsrun },
    tsbuild: (...args) => run(join(compiled.dist, 'cli/tsbuild.js'), ...args),
    sh: script => run('-c', `tsrun() { sh ${program} "$@"; }\n${script}`),
    ids: () => tsrun('ps', '-aq').stdout.split('\n').filter(Boolean),
    [Symbol.dispose]() {
      box[Symbol.dispose]()
      compiled[Symbol.dispose]()
    },
  }
}
