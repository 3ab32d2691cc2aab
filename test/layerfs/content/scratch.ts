/** Directories for one test file; {@link removeDirectories} in its afterAll removes them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const made: string[] = []

export function freshDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsbuild-test-'))
  made.push(path)
  return path
}

export function removeDirectories(): void {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true })
}
