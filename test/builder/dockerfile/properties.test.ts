// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import { excerptOf } from '../../../src/builder/dockerfile/excerpt.ts'
import { expand } from '../../../src/builder/dockerfile/expand.ts'
import { compileDeepGlob, compileGlob, globMatches } from '../../../src/builder/dockerfile/glob.ts'
import { parseIgnore } from '../../../src/builder/dockerfile/ignore.ts'
import { lint } from '../../../src/builder/dockerfile/lint.ts'
import { parseMount } from '../../../src/builder/dockerfile/mount.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import { planAll } from '../plan/planning.ts'

/** The value, or `undefined` if it was refused properly; anything else thrown is a failure. */
function settle<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (error instanceof DockerfileError) return undefined
    throw error
  }
}

const words = fc.constantFrom(
  ...'FROM RUN CMD COPY ADD ENV ARG LABEL EXPOSE VOLUME USER WORKDIR SHELL ENTRYPOINT'.split(' '),
  ...'HEALTHCHECK ONBUILD STOPSIGNAL MAINTAINER AS from run scratch a b /x . .. 80/tcp'.split(' '),
  ...'k=v "a b" \' " \\ ` # $ $a ${a ${a:-b} ${a/b/c} ${ } << <<EOF <<-E EOF E 3<<"F" F'.split(' '),
  ...'[ ] ["a","b"] [1] -- --from=a --from=0 --link --chown=1 --mount= --mount=type=cache,target=/c'.split(
    ' ',
  ),
  ...'--platform=x --network=none --interval=1s --exclude=* # escape=` check=skip=all'.split(' '),
  ...[
    '\n',
    '\n',
    '\n',
    ' ',
    ' ',
    '\t',
    '\r\n',
    '\\\n',
    '\u0000',
    '\ufeff',
    'é',
    '😀',
    '\ud800',
    '__proto__',
  ],
)
const dockerfileText = fc
  .array(fc.oneof({ weight: 9, arbitrary: words }, fc.string()), { maxLength: 60 })
  .map(parts => `FROM a AS x\n${parts.join(' ')}`)

describe('any text', () => {
  test('parses, or is refused with a place in the file', () => {
    fc.assert(
      fc.property(dockerfileText, text => {
        try {
          const { instructions, source } = parseDockerfile(text)
          for (const { span } of instructions) {
            expect(span.startLine).toBeLessThanOrEqual(span.endLine)
            expect(span.end).toBeLessThanOrEqual(source.length)
            expect(excerptOf(source, 'f', span)).not.toBe('')
          }
        } catch (error) {
          if (!(error instanceof DockerfileError)) throw error
          expect(error.span).toBeDefined()
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('instructions cover the file in order, without overlap', () => {
    fc.assert(
      fc.property(dockerfileText, text => {
        let line = 0
        for (const { span } of settle(() => parseDockerfile(text))?.instructions ?? []) {
          expect(span.startLine).toBeGreaterThan(line)
          line = span.endLine
        }
      }),
    )
  })

  test('plans, or is refused', () => {
    const buildArgs = { a: 'val', __proto__: 'x' }
    fc.assert(
      fc.property(dockerfileText, text => {
        const planned = settle(() => planAll(text, { buildArgs })) ?? []
        const steps = planned.flatMap(stage => stage.steps)
        expect(steps.every(step => step.kind !== 'copy' || step.dest.startsWith('/'))).toBe(true)
        expect(steps.every(step => step.kind !== 'workdir' || /^\/./.test(step.path))).toBe(true)
        for (const { findings } of planned) settle(() => lint(parseDockerfile(text), findings))
      }),
      { numRuns: 2_000 },
    )
  })

  test('expands, or is refused', () => {
    const piece = fc.constantFrom(
      ...'$ { } a A : - + ? # % / * \\ \' " < ` ='.split(' '),
      ' ',
      '\n',
      'é',
    )
    const word = fc.array(piece, { maxLength: 25 }).map(parts => parts.join(''))
    fc.assert(
      fc.property(
        word,
        fc.dictionary(fc.constantFrom('a', 'A', 'aA'), fc.string()),
        (text, env) => {
          for (const quoting of ['remove', 'keep'] as const) {
            settle(() => expand(text, name => env[name], { quoting, unset: 'keep' }))
          }
        },
      ),
      { numRuns: 3_000 },
    )
  })

  test('is a mount, a pattern, an ignore file, or is refused', () => {
    const piece = fc.constantFrom(
      ...'a , = type bind target /x * ? [ ] ^ - \\ ! ** / " size uid'.split(' '),
      '\n',
    )
    const text = fc.array(piece, { maxLength: 15 }).map(parts => parts.join(''))
    fc.assert(
      fc.property(text, fc.string(), (pattern, path) => {
        settle(() => parseMount(pattern, value => value))
        settle(() => parseIgnore(pattern).match(path))
        settle(() => parseIgnore(pattern).prunes(path))
        settle(() => globMatches(compileGlob(pattern), path))
        settle(() => globMatches(compileDeepGlob(pattern), path))
      }),
      { numRuns: 2_000 },
    )
  })

  test('a regular expression and the state machine agree on every pattern', () => {
    const piece = fc.constantFrom('a', 'b', '*', '?', '**', '**/', '/', '[ab]', '[^a]', '\\*')
    const text = fc.array(fc.constantFrom('a', 'b', '/', '*', 'é'), { maxLength: 8 })
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), text, (parts, chars) => {
        const glob = compileDeepGlob(parts.join(''))
        const path = chars.join('')
        expect(globMatches(glob, path)).toBe(globMatches({ ...glob, regExp: undefined }, path))
      }),
      { numRuns: 3_000 },
    )
  })
})

describe('large files', () => {
  /** Milliseconds of processor time: the best of three, since others use this machine. */
  function cost(text: string): number {
    const times = [0, 1, 2].map(() => {
      const before = process.cpuUsage()
      settle(() => parseDockerfile(text))
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1000
    })
    return Math.min(...times)
  }

  const shapes: readonly (readonly [string, (count: number) => string])[] = [
    ['instructions', count => `FROM a\n${'RUN echo "$X" <b\n'.repeat(count)}`],
    ['continuations', count => `FROM a\nRUN x ${'\\\n  y'.repeat(count)}\n`],
    ['comments', count => `${'# c\n'.repeat(count)}FROM a\n`],
    ['blank lines', count => `${'\n'.repeat(count)}FROM a\n`],
    ['blank continuations', count => `FROM a\nRUN x \\\n${'\n'.repeat(count)}y`],
    ['heredoc lines', count => `FROM a\nRUN <<E\n${'x\n'.repeat(count)}E\n`],
    ['unterminated heredocs', count => `FROM a\nRUN <<E\n${'RUN <<E2\n'.repeat(count)}`],
    ['heredoc words', count => `FROM a\nRUN ${'<<E '.repeat(count / 10)}\n${'E\n'.repeat(count)}`],
    ['pairs', count => `FROM a\n${`ENV ${'a=b '.repeat(10)}\n`.repeat(count / 10)}`],
    ['ONBUILDs on one line', count => `FROM a\n${'ONBUILD '.repeat(count / 15)}\n`],
  ]
  test('100,000 lines of every kind take linear time', () => {
    const kinds = [
      ...['FROM a AS s', '# why', 'ARG A=1 B="x y" C=${A:-$B}', "ENV A=b C='d e' F=${A}", ''],
      ...['RUN --mount=type=cache,target=/c a \\', '  # in between', '  && b \\', '', '  && c'],
      ...['COPY --from=s --chown=1:2 a b* /c/', 'CMD ["a", "b"]', 'LABEL a=b \\', '  c="d"'],
      ...['RUN <<E cat <<-"F"', '$A', 'E', '\tb', '\tF', 'HEALTHCHECK --interval=5s CMD x'],
    ]
    const lines = (count: number) => `${kinds.join('\n')}\n`.repeat(count / kinds.length)
    const large = lines(100_000)
    expect(large.split('\n')).toHaveLength(100_001)
    expect(parseDockerfile(large).instructions).toHaveLength(45_000)
    expect(cost(large)).toBeLessThan(40 * Math.max(cost(lines(10_000)), 2))
  })

  for (const [name, text] of shapes) {
    test(`40,000 ${name} take linear time`, () => {
      const small = cost(text(4_000))
      const large = cost(text(40_000))
      // Ten times the text: a quadratic parser would need a hundred times as long.
      expect(large).toBeLessThan(40 * Math.max(small, 2))
    })
  }
})
