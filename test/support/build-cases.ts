/**
 * The cases of fixtures/dockerfile: a Dockerfile each, with what its context has beside `common.sh`.
 * Those in `compared` are for any BuildKit, those in `compared-newest` for that of today alone.
 *
 *   <case>/Dockerfile, .dockerignore, …   copied into the context
 *         /prepare.sh                     makes there what git cannot keep: modes, FIFOs, archives
 *         /flags                          of `docker build`, one word per line; % is the context
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const fixtures = join(import.meta.dirname, '../../fixtures/dockerfile')
const common = join(fixtures, 'compared/common.sh')

export type CaseFolder = 'compared' | 'compared-newest'

/** `folder/name` of each. */
export function caseNames(folder: CaseFolder): string[] {
  return readdirSync(join(fixtures, folder), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => `${folder}/${entry.name}`)
    .sort()
}

/** One of so many, or all: TSBUILD_TEST_ALL=1. */
export function sampleCases(names: readonly string[], of: number): readonly string[] {
  const { TSBUILD_TEST_ALL: all } = process.env
  return all === '1' ? names : names.filter((_, index) => index % of === 0)
}

export interface BuildCase {
  readonly context: string
  readonly dockerfile: string
  readonly ignore: string
  readonly flags: readonly string[]
}

/** Makes the context of `folder/name` in `directory`, which must not exist yet. */
export function openCase(name: string, directory: string): BuildCase {
  mkdirSync(directory, { recursive: true })
  const shell = (script: string) => execFileSync('sh', [script], { cwd: directory })
  shell(common)
  cpSync(join(fixtures, name), directory, { recursive: true })
  for (const file of ['Dockerfile', '.dockerignore', 'Dockerfile.dockerignore']) {
    if (existsSync(join(directory, file)))
      execFileSync('touch', ['-d@1000000000', file], { cwd: directory })
  }
  const flags = readText(join(directory, 'flags')).split('\n').filter(Boolean)
  if (existsSync(join(directory, 'prepare.sh'))) shell('prepare.sh')
  for (const name of ['flags', 'prepare.sh']) rmSync(join(directory, name), { force: true })
  execFileSync('touch', ['-d@1000000000', '.'], { cwd: directory })
  const own = readText(join(directory, 'Dockerfile.dockerignore'))
  return {
    context: directory,
    dockerfile: readText(join(directory, 'Dockerfile')),
    ignore: own === '' ? readText(join(directory, '.dockerignore')) : own,
    flags: flags.map(flag => flag.replace('%', directory)),
  }
}

function readText(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
