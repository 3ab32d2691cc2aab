import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { removePath } from '../../../src/layerfs/layer/remove-tree.ts'

/** In memory where there is such a place: a busy disk needs half a minute for so many. */
const place = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

test('removePath() removes a tree deeper than any stack, with files on the way', () => {
  const directory = mkdtempSync(join(place, 'remove-tree-'))
  const script = `for (let i = 0; i < 12000; i++) {
    fs.mkdirSync("d"); fs.writeFileSync("f", ""); process.chdir("d")
  }`
  execFileSync(process.execPath, ['-e', script], { cwd: directory })
  removePath(directory)
  expect(existsSync(directory)).toBe(false)
})

test('removePath() follows no link out of the tree', () => {
  const directory = mkdtempSync(join(tmpdir(), 'remove-tree-'))
  mkdirSync(join(directory, 'kept/sub'), { recursive: true })
  writeFileSync(join(directory, 'kept/f'), '')
  mkdirSync(join(directory, 'doomed/deep'), { recursive: true })
  symlinkSync('../../kept', join(directory, 'doomed/deep/link'))
  removePath(join(directory, 'doomed'))
  expect(readdirSync(directory)).toEqual(['kept'])
  expect(readdirSync(join(directory, 'kept'))).toEqual(['f', 'sub'])
  removePath(directory)
})
