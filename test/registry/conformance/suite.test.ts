import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { compileSources } from '../../support/compiled.ts'
import { serveRegistry } from '../server/program.ts'
import { buildSuite, runSuite } from './suite.ts'

const folder = mkdtempSync(join(tmpdir(), 'tsregistry-conformance-'))
const removeFolder = () => rmSync(folder, { recursive: true, force: true })
afterAll(removeFolder)
const suite = buildSuite(folder)
// Hooks do not run where every test is skipped.
if (suite.kind === 'absent') removeFolder()
const absence = suite.kind === 'absent' ? ` (skipped: ${suite.reason})` : ''

describe.skipIf(suite.kind === 'absent')(`the OCI conformance suite${absence}`, () => {
  it('passes at version "dev" with sparse manifests: nothing failed, skipped or disabled', {
    timeout: 120_000,
  }, async () => {
    if (suite.kind === 'absent') throw new Error(suite.reason)
    using compiled = compileSources()
    const registry = await serveRegistry(compiled.dist, join(folder, 'root'))
    const { counts, report } = await runSuite(suite.path, { port: registry.port, folder })
    await registry.stop('SIGTERM')
    expect(counts, report).toMatchObject({ errors: 0, failures: 0, skipped: 0, disabled: 0 })
    expect(counts.tests).toBeGreaterThanOrEqual(1032)
  })
})
