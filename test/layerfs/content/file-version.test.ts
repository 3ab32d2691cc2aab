import {
  lstatSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { isVersion, versionOf } from '../../../src/layerfs/content/file-version.ts'

let root: string
let path: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'file-version-'))
  path = join(root, 'file')
  writeFileSync(path, 'first')
})
afterEach(() => rmSync(root, { recursive: true }))

const now = () => versionOf(lstatSync(path, { bigint: true }))

it('knows the file again that nobody touched', () => {
  expect(isVersion(path, now())).toBe(true)
})

it('does not know one that was replaced by the same bytes, though it has the same times', () => {
  const version = now()
  const { atime, mtime } = lstatSync(path)
  writeFileSync(join(root, 'other'), 'first')
  utimesSync(join(root, 'other'), atime, mtime)
  renameSync(join(root, 'other'), path)
  expect(isVersion(path, version)).toBe(false)
})

it('does not know one that is gone, a link to it, or a version of another length', () => {
  const version = now()
  const moved = join(root, 'moved')
  renameSync(path, moved)
  symlinkSync(moved, path)
  expect(isVersion(path, version)).toBe(false)
  rmSync(path)
  expect(isVersion(path, version)).toBe(false)
  expect(isVersion(moved, version.subarray(0, 8))).toBe(false)
})
