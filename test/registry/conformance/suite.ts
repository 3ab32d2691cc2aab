/**
 * The OCI distribution-spec's own conformance suite, a Go program, at the version in
 * `suite-version.txt`: `go install` gives it through the Go module proxy, or from Go's cache.
 * `OCI_CONFORMANCE` names one that is built already. Its own verdict counts skipped checks as
 * passed, so the counts are read.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export type Suite =
  | { readonly kind: 'program'; readonly path: string }
  | { readonly kind: 'absent'; readonly reason: string }

/** Builds the suite in `folder`. */
export function buildSuite(folder: string): Suite {
  const { OCI_CONFORMANCE: given } = process.env
  if (given !== undefined && given !== '') return { kind: 'program', path: given }
  const version = readFileSync(join(import.meta.dirname, 'suite-version.txt'), 'utf8').trim()
  const { status, error, stderr } = spawnSync('go', ['install', version], {
    encoding: 'utf8',
    env: { ...process.env, CGO_ENABLED: '0', GOBIN: folder },
    timeout: 240_000,
  })
  if (error !== undefined) return { kind: 'absent', reason: reasonOf(error) }
  if (status !== 0) return { kind: 'absent', reason: `go install: ${lastLine(stderr)}` }
  return { kind: 'program', path: join(folder, 'conformance') }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  return error.code === 'ENOENT' ? 'Go is not installed' : `go install: ${error.message}`
}

export interface SuiteCounts {
  readonly tests: number
  readonly errors: number
  readonly failures: number
  readonly skipped: number
  readonly disabled: number
}

/** Runs the suite against a registry; `report` is what it printed. */
export async function runSuite(
  program: string,
  registry: { readonly port: number; readonly folder: string },
): Promise<{ readonly counts: SuiteCounts; readonly report: string }> {
  const results = join(registry.folder, 'results')
  mkdirSync(results, { recursive: true })
  const child = spawn(program, [], {
    cwd: registry.folder,
    env: {
      ...process.env,
      OCI_REGISTRY: `127.0.0.1:${registry.port}`,
      OCI_TLS: 'disabled',
      OCI_REPO1: 'conformance/one',
      OCI_REPO2: 'conformance/two',
      OCI_VERSION: 'dev',
      OCI_DATA_SPARSE: 'true',
      OCI_RESULTS_DIR: results,
    },
  })
  let report = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', chunk => {
      report += chunk
    })
  }
  await once(child, 'close')
  return { counts: countsFrom(readFileSync(join(results, 'junit.xml'), 'utf8')), report }
}

/** The attributes of the outermost element. */
function countsFrom(junit: string): SuiteCounts {
  const element = /<testsuites\b[^>]*>/.exec(junit)?.[0] ?? ''
  const count = (name: string) =>
    Number(new RegExp(`\\b${name}="([0-9]+)"`).exec(element)?.[1] ?? 0)
  return {
    tests: count('tests'),
    errors: count('errors'),
    failures: count('failures'),
    skipped: count('skipped'),
    disabled: count('disabled'),
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? ''
}
