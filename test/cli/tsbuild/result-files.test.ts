import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeResultFiles } from '../../../src/cli/tsbuild/result-files.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'result-files-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

describe('writeResultFiles()', () => {
  it('replaces --metadata-file whole: one that is being read stays as it was', async () => {
    const path = join(directory, 'metadata.json')
    writeFileSync(path, 'old')
    const reader = openSync(path, 'r')
    await writeResultFiles(undefined, {
      iidfile: undefined,
      metadataFile: path,
      outputs: [],
      caches: [],
    })
    expect(readFileSync(reader, 'utf8')).toBe('old')
    closeSync(reader)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({})
    expect(readdirSync(directory)).toEqual(['metadata.json'])
  })
})
