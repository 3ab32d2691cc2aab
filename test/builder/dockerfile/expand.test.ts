// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import {
  expand,
  expandWord,
  expandWords,
  maxExpandedLength,
} from '../../../src/builder/dockerfile/expand.ts'
import { maxNesting } from '../../../src/builder/dockerfile/expand-dollar.ts'

const variables: Readonly<Record<string, string>> = {
  A: 'alpha',
  E: '',
  P: '/usr/local/lib/libc.so.6',
  V: '1.2.3',
  S: 'two words',
  T: 'a*b?c',
  N: 'déjà',
  _x: 'under',
  D: '/usr',
}
const lookup = (name: string) => variables[name]

interface Vector {
  readonly section: string
  readonly word: string
  readonly result: string
}

/** `word TAB result`, an error after `! `; headings name the row that the lines below are about. */
function vectors(): Vector[] {
  const file = join(import.meta.dirname, '../../../fixtures/dockerfile/expand-vectors.txt')
  let section = ''
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .flatMap(line => {
      if (line.startsWith('# V')) {
        section = line.slice(2)
        return []
      }
      const [word = '', result = ''] = line.split('\t')
      return [{ section, word, result }]
    })
}

function outcome(word: string): string {
  try {
    return expandWord(word, lookup)
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    return error.message.replace(/^failed to process ".*": /s, '! ')
  }
}

describe('expandWord()', () => {
  for (const { section, word, result } of vectors()) {
    test(`${section}: ${JSON.stringify(word)}`, () => {
      expect(outcome(word)).toBe(result)
    })
  }

  test('has at least 150 vectors', () => {
    expect(vectors().length).toBeGreaterThanOrEqual(150)
  })

  test('L20: quotes the word it could not process', () => {
    expect(() => expandWord('a ${', lookup)).toThrow(
      `failed to process "a \${": syntax error: missing '}'`,
    )
  })

  test('D03: takes the backtick for its escape character and leaves backslashes alone', () => {
    expect(expandWord('C:\\dir\\$A`$A', lookup, { escape: '`' })).toBe('C:\\dir\\alpha$A')
    expect(expandWord('"a`"b"', lookup, { escape: '`' })).toBe('a"b')
  })

  test('V08: never expands a value a second time', () => {
    expect(expandWord('$X', () => '$A ${A} "q" \\$')).toBe('$A ${A} "q" \\$')
  })

  test('H04: takes quotes as they are in a heredoc body', () => {
    const body = 'it\'s "$A"\n\\$A \\\\ ${U:-x}\n'
    expect(expandWord(body, lookup, { quotes: 'literal' })).toBe('it\'s "alpha"\n$A \\ x\n')
  })

  test('keeps quotes, escapes and unset variables when only names are to be filled in', () => {
    const options = { quoting: 'keep', unset: 'keep' } as const
    const word = `echo "$A" '$A' \\$A $U \${U} \${U:-x}`
    expect(expandWord(word, lookup, options)).toBe(`echo "alpha" '$A' \\$A $U \${U} \${U:-x}`)
  })

  test('V12: tells which names were set, not set, and missing without a stand-in', () => {
    const { matched, unmatched, missing } = expand('$A ${U:-x} $W ${A:-y}', lookup)
    expect([...matched]).toEqual(['A'])
    expect([...unmatched]).toEqual(['U', 'W'])
    expect([...missing]).toEqual(['W'])
  })

  test('refuses a result that has grown beyond all bounds', () => {
    const big = 'x'.repeat(maxExpandedLength / 2)
    expect(() => expandWord('$B$B$B', () => big)).toThrow('longer than')
  })

  test('refuses braces nested beyond all bounds, without overflowing the stack', () => {
    expect(() => expandWord('${U:-'.repeat(20_000), () => undefined)).toThrow(DockerfileError)
    const deep = `${'${U:-'.repeat(maxNesting)}x${'}'.repeat(maxNesting)}`
    expect(expandWord(deep, () => undefined)).toBe('x')
  })

  test('gives up on a pattern that would take forever, instead of hanging', () => {
    const value = 'a'.repeat(200_000)
    const pattern = `${'a'.repeat(20_000)}b`
    expect(() => expandWord(`\${X//${pattern}/c}`, () => value)).toThrow('too long to match')
    expect(expandWord(`\${X##${'*a'.repeat(30)}*b}`, () => 'a'.repeat(5_000))).toBe(
      'a'.repeat(5_000),
    )
  })
})

describe('expandWords()', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['a b', ['a', 'b']],
    [' a  b ', ['a', 'b']],
    ['"a b" c', ['a b', 'c']],
    ["'a b'c d", ['a bc', 'd']],
    ['a\\ b c', ['a b', 'c']],
    ['$S', ['two', 'words']],
    ['"$S"', ['two words']],
    ['x$S y', ['xtwo', 'words', 'y']],
    ['$E', []],
    ['', []],
    ['$U $A', ['alpha']],
    ['80 ${U:-90 91}', ['80', '90', '91']],
    ['8${U:-080}', ['8080']],
    ['a\tb\nc', ['a', 'b', 'c']],
  ]
  for (const [word, words] of cases) {
    test(`V09: splits ${JSON.stringify(word)} into ${words.length}`, () => {
      expect(expandWords(word, lookup)).toEqual(words)
    })
  }

  test('H01: keeps "<< EOF" together', () => {
    expect(expandWords('cat << EOF x', lookup)).toEqual(['cat', '<< EOF', 'x'])
  })
})
