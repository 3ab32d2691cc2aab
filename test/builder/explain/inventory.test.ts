import { constants } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  differingLines,
  type FileLine,
  fileLine,
  readLines,
} from '../../../src/builder/explain/file-line.ts'
import { compareInventories } from '../../../src/builder/explain/inventory.ts'

const plain: FileLine = {
  path: 'a',
  mode: 0o644,
  owner: '0:0',
  type: constants.S_IFREG,
  more: 3,
  attributes: [],
  content: 'f00d',
}
const linesOf = (files: readonly Partial<FileLine>[]) =>
  Buffer.from(files.map(file => fileLine({ ...plain, ...file })).join(''))

const nothing = Buffer.alloc(0)

/** What begins and ends like a line's end is among them. */
const text = fc.stringMatching(/^[a\n 0]{0,3}$/)
const content = fc.constantFrom('', 'f00d', 'cafe')
const some = fc.record({ path: text, owner: text, more: text, content })
const files = fc.uniqueArray(some, { maxLength: 8, selector: ({ path }) => path })

describe('fileLine()', () => {
  test('is read back, whatever stands before and behind it', () => {
    fc.assert(
      fc.property(files, given => {
        const read = readLines(linesOf(given))
        expect(read.map(({ path, owner }) => [path, owner])).toEqual(
          given.map(({ path, owner }) => [path, owner]),
        )
      }),
    )
  })
})

describe('differingLines()', () => {
  test('leaves whole lines, and all that are not the same in both', () => {
    fc.assert(
      fc.property(files, files, files, (one, other, shared) => {
        const taken = new Set([...one, ...other].map(({ path }) => path))
        const around = shared.filter(({ path }) => !taken.has(path))
        const half = around.length >> 1
        const [a, b] = [one, other].map(middle => [
          ...around.slice(0, half),
          ...middle,
          ...around.slice(half),
        ])
        const lines = [a ?? [], b ?? []].map(each => each.map(file => `${linesOf([file])}`))
        const [before = [], after = []] = lines
        const whole = lines.map(each => Buffer.from(each.join('')))
        const left = differingLines(whole[0] ?? nothing, whole[1] ?? nothing).map(String)
        for (const [index, part] of left.entries()) {
          const [own = [], others = []] = index === 0 ? [before, after] : [after, before]
          const kept = own.filter(line => part.includes(line))
          expect(own.join('')).toContain(part)
          expect(kept).toEqual(expect.arrayContaining(own.filter(line => !others.includes(line))))
          expect(part === '' || part.endsWith('\0\n')).toBe(true)
        }
        const rest = [before, after].map(
          (all, index) => all.join('').length - (left[index]?.length ?? 0),
        )
        expect(rest[0]).toBe(rest[1])
      }),
    )
  })
})

describe('compareInventories()', () => {
  test('names each file that changed, and what of it, before those that came and went', () => {
    const before = linesOf([
      { path: 'a' },
      { path: 'b' },
      { path: 'c', mode: 0o600 },
      { path: 'd', type: constants.S_IFLNK, more: 'x', content: '' },
      { path: 'e' },
      { path: 'gone' },
      { path: 'z' },
    ])
    const after = linesOf([
      { path: 'a' },
      { path: 'added' },
      { path: 'b', content: 'cafe', owner: '1:2' },
      { path: 'c' },
      { path: 'd', type: constants.S_IFLNK, more: 'y', content: '' },
      { path: 'e', type: constants.S_IFDIR, more: '0 0', content: '' },
      { path: 'z' },
    ])
    expect(compareInventories(before, after)).toEqual([
      cause('b', { what: 'content' }, { what: 'owner', from: '0:0', to: '1:2' }),
      cause('c', { what: 'mode', from: '600', to: '644' }),
      cause('d', { what: 'target' }),
      cause('e', { what: 'type', from: 'file', to: 'directory' }),
      cause('added', { what: 'added' }),
      cause('gone', { what: 'removed' }),
    ])
    expect(compareInventories(after, after)).toEqual([])
    expect(compareInventories(nothing, linesOf([{ path: '' }]))).toEqual([
      cause('.', { what: 'added' }),
    ])
  })

  const cause = (subject: string, ...changes: object[]) => ({ kind: 'file', subject, changes })
})
