import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { flagTables } from '../../../src/builder/dockerfile/flags.ts'
import { mountKeys } from '../../../src/builder/dockerfile/mount.ts'
import { keywords } from '../../../src/builder/dockerfile/node.ts'
import { builtinArgs, proxyNames } from '../../../src/builder/plan/build-args.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/dockerfile.md'), 'utf8')

/** The cells of each row of the table below a heading, without back quotes. */
function rows(heading: string): string[][] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  return section
    .split('\n')
    .filter(line => /^\| `/.test(line))
    .map(line => line.split('|').slice(1, -1))
    .map(cells => cells.map(cell => cell.replaceAll('`', '').trim()))
}

describe('docs/dockerfile.md', () => {
  test('lists every instruction', () => {
    const documented = rows('Instructions').map(([name]) => name)
    expect(documented).toEqual(keywords.map(keyword => keyword.toUpperCase()).toSorted())
  })

  test('lists every flag, with what it takes', () => {
    const documented = rows('Flags').map(([instruction, flag, type]) => [instruction, flag, type])
    const known = Object.entries(flagTables).flatMap(([keyword, flags]) =>
      Object.entries(flags).map(([flag, type]) => [keyword.toUpperCase(), `--${flag}`, type]),
    )
    expect(documented).toEqual(known.toSorted((a, b) => a.join().localeCompare(b.join())))
  })

  test('lists every argument that needs no ARG', () => {
    const documented = rows('Arguments that mean something').map(([names = '']) =>
      names.replace(/, in any case$/, '').replace(/=1$/, ''),
    )
    expect(documented).toEqual([proxyNames.join(' '), ...builtinArgs])
  })

  test('lists every key of a mount, with its spellings', () => {
    const documented = rows('Mounts').map(([key = '', aliases = '']) => [
      key,
      ...aliases.split(', ').filter(alias => alias !== ''),
    ])
    expect(documented).toEqual(Object.values(mountKeys).map(spellings => [...spellings]))
  })
})
