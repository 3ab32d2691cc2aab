import { describe, expect, test } from 'vitest'
import {
  heredocBody,
  parseHeredocWord,
  summarizeHeredoc,
} from '../../../src/builder/dockerfile/heredoc.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import { failure, parseOne } from './parsing.ts'

describe('heredocs', () => {
  test('H01: RUN takes the lines up to the terminator', () => {
    expect(parseOne('RUN <<EOF\na\n b\nEOF\n')).toMatchObject({
      command: { form: 'shell', script: '<<EOF' },
      heredocs: [{ name: 'EOF', content: 'a\n b\n', expand: true, chomp: false }],
    })
  })

  test('H01: several on one line come in order', () => {
    expect(parseOne('COPY <<A <<B /x/\na\nA\nb\nB\n')).toMatchObject({
      sources: [],
      heredocs: [
        { name: 'A', content: 'a\n' },
        { name: 'B', content: 'b\n' },
      ],
      dest: '/x/',
    })
  })

  test('H01: the instruction after it is read again', () => {
    const { instructions } = parseDockerfile('FROM a\nRUN <<E\nUSER x\nE\nUSER y\n')
    expect(instructions.map(({ kind }) => kind)).toEqual(['from', 'run', 'user'])
    expect(instructions[1]?.span).toMatchObject({ startLine: 2, endLine: 4 })
  })

  test('H01: files and heredocs mix (C30)', () => {
    expect(parseOne('ADD x <<A y /z/\na\nA\n')).toMatchObject({
      sources: ['x', 'y'],
      heredocs: [{ name: 'A', content: 'a\n' }],
    })
  })

  test('H01: a file descriptor may stand before it', () => {
    expect(parseOne('RUN cat 3<<X\na\nX\n')).toMatchObject({
      heredocs: [{ name: 'X', fileDescriptor: 3 }],
    })
  })

  test('H01: blanks may stand behind <<', () => {
    expect(parseOne('RUN cat << X\na\nX\n')).toMatchObject({ heredocs: [{ name: 'X' }] })
  })

  test.each(['CMD cat <<EOF', 'USER <<EOF', 'ENTRYPOINT x <<EOF'])(
    'H01: %s has none',
    instruction => {
      expect(parseDockerfile(`FROM a\n${instruction}\n`).instructions).toHaveLength(2)
    },
  )

  test('H01: the JSON form has none', () => {
    expect(parseOne('RUN ["cat", "<<EOF"]')).toMatchObject({ heredocs: [] })
  })

  test('H02: any quote in the name makes the body literal', () => {
    for (const word of ['"EOF"', "'EOF'", 'E"O"F']) {
      expect(parseOne(`COPY <<${word} /x\n$a\nEOF\n`)).toMatchObject({
        heredocs: [{ name: 'EOF', expand: false, content: '$a\n' }],
      })
    }
  })

  test('H02: <<- strips leading tabs from body and terminator, not blanks', () => {
    const parsed = parseOne('COPY <<-EOF /x\n\ta\n\t\t b\n  c\n\tEOF\n')
    expect(parsed).toMatchObject({ heredocs: [{ chomp: true }] })
    const [heredoc] = parsed.kind === 'copy' ? (parsed.heredocs ?? []) : []
    expect(heredoc && heredocBody(heredoc)).toBe('a\n b\n  c\n')
  })

  test('H02: a quoted word is no heredoc', () => {
    expect(parseOne('RUN echo "<<X"')).toMatchObject({ heredocs: [] })
    expect(parseOne("RUN echo '<<X'")).toMatchObject({ heredocs: [] })
  })

  test('H02: a here-string is no heredoc', () => {
    expect(parseOne('RUN cat <<<X')).toMatchObject({ heredocs: [] })
  })

  test('H03: refuses one that never ends, at its instruction', () => {
    const error = failure('FROM a\nRUN <<EOF\nb\n EOF\n')
    expect(error.message).toBe('unterminated heredoc')
    expect(error.span).toMatchObject({ startLine: 2 })
  })

  test('H03: the terminator must be the whole line', () => {
    expect(parseOne('RUN <<E\nE \n E\nEE\nE\n')).toMatchObject({
      heredocs: [{ content: 'E \n E\nEE\n' }],
    })
  })

  test('H03: a terminator with CRLF ends it; the body keeps its line breaks (L01)', () => {
    expect(parseOne('RUN <<E\r\na\r\nE\r\n')).toMatchObject({ heredocs: [{ content: 'a\r\n' }] })
  })

  test('H06: a command with a heredoc keeps both', () => {
    expect(parseOne('RUN python3 <<P | cat\nprint()\nP\n')).toMatchObject({
      command: { script: 'python3 <<P | cat' },
      heredocs: [{ name: 'P', content: 'print()\n' }],
    })
  })

  test('H07: comments, blank lines and continuations in the body are literal', () => {
    expect(parseOne('RUN <<E\n# c\n\na \\\nb\nE\n')).toMatchObject({
      heredocs: [{ content: '# c\n\na \\\nb\n' }],
    })
  })

  test('I14: ONBUILD takes them along in its trigger', () => {
    expect(parseOne('ONBUILD COPY <<E /x\nhi\nE\n')).toMatchObject({
      kind: 'onbuild',
      trigger: 'COPY <<E /x\nhi\nE',
    })
  })
})

describe('parseHeredocWord()', () => {
  test.each(['a', '<a', '<<', '<<-', 'x<<a', '<<a b', '<<<a', ''])(
    '%j is an ordinary word',
    word => {
      expect(parseHeredocWord(word)).toBeUndefined()
    },
  )
})

describe('summarizeHeredoc()', () => {
  test('shows the first line, and dots when there are more', () => {
    expect(summarizeHeredoc('\na\n')).toBe('a')
    expect(summarizeHeredoc('a\r\nb\n')).toBe('a...')
  })
})
