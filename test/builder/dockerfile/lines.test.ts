import { describe, expect, test } from 'vitest'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import { failure, parseLast, parseOne } from './parsing.ts'

describe('lines', () => {
  const accepted: readonly (readonly [string, string, unknown])[] = [
    ['L01: drops a byte order mark', '\ufeffFROM a', { kind: 'from', image: 'a', typedAs: [] }],
    ['L01: accepts CRLF', 'FROM a\r\nUSER b\r\n', { kind: 'user', text: 'b' }],
    [
      'L03: skips comments, also indented ones',
      'FROM a\n  # c\nUSER b',
      { kind: 'user', text: 'b' },
    ],
    ['L03: keeps a # inside a line', 'FROM a\nUSER b # c', { kind: 'user', text: 'b # c' }],
    ['L04: strips blanks before an instruction', 'FROM a\n \t USER b', { kind: 'user', text: 'b' }],
    [
      'L05: joins continued lines with nothing between',
      'FROM a\nUSER b\\\nc',
      { kind: 'user', text: 'bc' },
    ],
    [
      'L04: keeps the blanks of a continuation',
      'FROM a\nUSER b\\\n  c',
      { kind: 'user', text: 'b  c' },
    ],
    ['L05: allows blanks after the escape', 'FROM a\nUSER b\\ \t\nc', { kind: 'user', text: 'bc' }],
    [
      'L05: an escaped escape does not continue',
      'FROM a\nUSER b\\\\\nUSER c',
      { kind: 'user', text: 'c' },
    ],
    [
      'L05: a line with only the escape continues',
      'FROM a\n\\\nUSER b',
      { kind: 'user', text: 'b' },
    ],
    [
      'L03: skips comments in a continuation',
      'FROM a\nUSER b\\\n# c\n  # d\n c',
      { kind: 'user', text: 'b c' },
    ],
    [
      'L06: skips blank lines in a continuation',
      'FROM a\nUSER b\\\n\n\n c',
      { kind: 'user', text: 'b c' },
    ],
    [
      'L07: ends a continuation at the end of the file',
      'FROM a\nUSER b\\',
      { kind: 'user', text: 'b' },
    ],
    [
      'L07: a lone escape at the end is nothing',
      'FROM a\nUSER b\n\\\n',
      { kind: 'user', text: 'b' },
    ],
    ['L08: takes instruction words in any case', 'fRoM a\nuSeR b', { kind: 'user', text: 'b' }],
  ]
  for (const [name, text, expected] of accepted) {
    test(name, () => expect(parseLast(text)).toEqual(expected))
  }

  test('L06: remembers each blank line, but no comment', () => {
    const { emptyContinuations } = parseDockerfile('FROM a\nRUN b \\\n\n# c\n \n c\n')
    expect(emptyContinuations.map(({ startLine }) => startLine)).toEqual([6])
  })

  test('L10: gives each instruction its lines and the comments directly above it', () => {
    const { instructions } = parseDockerfile(
      '# far\n\n# one\n#\n# two\n# three\nFROM a\nRUN b \\\n c\n# last\n',
    )
    expect(instructions.map(({ span }) => [span.startLine, span.endLine])).toEqual([
      [7, 7],
      [8, 9],
    ])
    expect(instructions.map(({ comments }) => comments)).toEqual([['two', 'three'], []])
  })

  test('gives offsets that cut the instruction out of the source', () => {
    const { instructions, source } = parseDockerfile(
      'FROM a\n\nRUN b \\\n c\nCOPY <<E /x\nhi\nE\nUSER d',
    )
    const cut = instructions.map(({ span }) => source.slice(span.start, span.end))
    expect(cut).toEqual(['FROM a\n', 'RUN b \\\n c\n', 'COPY <<E /x\nhi\nE\n', 'USER d'])
  })

  test('L02: takes a line of 65535 bytes and refuses one of 65536', () => {
    const fits = `USER ${'x'.repeat(65_530)}`
    expect(parseOne(fits)).toMatchObject({ kind: 'user' })
    const error = failure(`FROM a\n${fits}x\nUSER y`)
    expect(error.message).toBe('dockerfile line greater than max allowed size of 65535')
    expect(error.span?.startLine).toBe(2)
  })

  test('L02: counts bytes, not characters', () => {
    expect(failure(`FROM a\nUSER ${'é'.repeat(32_766)}`).message).toContain('greater than max')
    expect(parseOne(`USER ${'é'.repeat(32_765)}`)).toMatchObject({ kind: 'user' })
  })
})

describe('what is no Dockerfile', () => {
  const refused: readonly (readonly [string, string, string])[] = [
    ['L09: nothing', '', 'the Dockerfile cannot be empty'],
    ['L09: comments alone', '# a\n\n# b\n', 'file with no instructions'],
    ['L09: blank lines alone', '\n \n', 'file with no instructions'],
    ['L09: ARGs alone', 'ARG a\n', 'dockerfile contains no stages to build'],
    ['L09: an instruction before FROM', 'RUN x\nFROM a', 'no build stage in current context'],
    [
      'L10: an unknown instruction',
      'FROM a\nFOO b',
      'dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)',
    ],
    [
      'L10: one in lower case',
      'from a\ncopi b',
      'dockerfile parse error on line 2: unknown instruction: copi (did you mean copy?)',
    ],
    [
      'L10: one that is like no other',
      'FROM a\nXXXXXX b',
      'dockerfile parse error on line 2: unknown instruction: XXXXXX',
    ],
    [
      'L20: counts lines from one, at the first of several',
      'FROM a\n\n# c\nRUNN b\\\nc',
      'dockerfile parse error on line 4: unknown instruction: RUNN (did you mean RUN?)',
    ],
  ]
  for (const [name, text, message] of refused) {
    test(name, () => expect(failure(text).message).toBe(message))
  }
})

describe('directives', () => {
  test('D01, D03: escape=` changes continuations', () => {
    expect(parseLast('# escape=`\nFROM a\nUSER C:\\x`\ny')).toEqual({
      kind: 'user',
      text: 'C:\\xy',
    })
  })

  test('D01: the key may be in any case, with blanks around', () => {
    const { escape: char, directives } = parseDockerfile(
      '#  Escape =  ` \n# syntax = docker/dockerfile:1 \nFROM a',
    )
    expect(char).toBe('`')
    expect(directives).toEqual([
      { name: 'escape', value: '`', line: 1 },
      { name: 'syntax', value: 'docker/dockerfile:1', line: 2 },
    ])
  })

  test.each([
    ['a comment', '# hello\n# escape=`\nFROM a'],
    ['an unknown key', '# key=value\n# escape=`\nFROM a'],
    ['a blank line', '\n# escape=`\nFROM a'],
    ['an instruction', 'ARG x\n# escape=`\nFROM a'],
  ])('D01: after %s it is an ordinary comment', (_, text) => {
    expect(parseDockerfile(text).escape).toBe('\\')
  })

  test('D02: refuses the same directive twice', () => {
    const error = failure('# escape=`\n# escape=`\nFROM a')
    expect(error.message).toBe('only one escape parser directive can be used')
    expect(error.span?.startLine).toBe(2)
  })

  test('D03: refuses any other escape character', () => {
    expect(failure('# escape=x\nFROM a').message).toBe(
      "invalid escape token 'x' does not match ` or \\",
    )
  })

  test('D01: a directive is not a comment of the instruction below it', () => {
    expect(
      parseDockerfile('# syntax=docker/dockerfile:1\n# a b\nFROM c AS a').instructions[0]?.comments,
    ).toEqual(['a b'])
  })
})
