import { describe, expect, test } from 'vitest'
import { failure } from './parsing.ts'

describe('parseDockerfile() refuses', () => {
  const refused: readonly (readonly [string, string, string])[] = [
    [
      'L13',
      'CMD ["a", 1]',
      'when using JSON array syntax, arrays must be comprised of strings only',
    ],
    [
      'L13',
      'COPY [["a"], "b"]',
      'when using JSON array syntax, arrays must be comprised of strings only',
    ],
    ['L15', 'ENV', 'ENV requires at least one argument'],
    ['L15', 'ENV a', 'ENV must have two arguments'],
    ['L15', 'LABEL a', 'LABEL must have two arguments'],
    ['L15', 'ENV a=1 b', 'Syntax error - can\'t find = in "b". Must be of the form: name=value'],
    ['L15', 'ENV =1', 'ENV names can not be blank'],
    ['L15', 'LABEL =1', 'LABEL names can not be blank'],
    ['L17', 'ARG', 'ARG requires at least one argument'],
    ['L17', 'ARG =1', 'ARG names can not be blank'],
    ['L18', 'USER', 'USER requires exactly one argument'],
    ['L18', 'WORKDIR', 'WORKDIR requires exactly one argument'],
    ['L18', 'MAINTAINER', 'MAINTAINER requires exactly one argument'],
    ['L18', 'STOPSIGNAL', 'STOPSIGNAL requires exactly one argument'],
    ['L18', 'EXPOSE', 'EXPOSE requires at least one argument'],
    ['I08', 'VOLUME', 'VOLUME requires at least one argument'],
    ['I08', 'VOLUME ["/a", " "]', 'VOLUME specified can not be an empty string'],
    ['I04', 'SHELL', 'SHELL requires at least one argument'],
    ['I04', 'SHELL []', 'SHELL requires at least one argument'],
    ['I04', 'SHELL bash -c', 'SHELL requires the arguments to be in JSON form'],
    ['I05', 'HEALTHCHECK', 'HEALTHCHECK requires at least one argument'],
    ['I05', 'HEALTHCHECK NONE x', 'HEALTHCHECK NONE takes no arguments'],
    ['I05', 'HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
    ['I05', 'HEALTHCHECK FOO x', 'Unknown type "FOO" in HEALTHCHECK (try CMD)'],
    ['I05', 'HEALTHCHECK --interval=5us CMD x', 'Interval "interval" cannot be less than 1ms'],
    ['I05', 'HEALTHCHECK --timeout=-5s CMD x', 'Interval "timeout" cannot be less than 1ms'],
    ['I05', 'HEALTHCHECK --interval=5 CMD x', 'time: missing unit in duration "5"'],
    ['I05', 'HEALTHCHECK --interval=x CMD x', 'time: invalid duration "x"'],
    ['I05', 'HEALTHCHECK --interval=5q CMD x', 'time: unknown unit "q" in duration "5q"'],
    ['I05', 'HEALTHCHECK --retries=-1 CMD x', '--retries cannot be negative (-1)'],
    ['I05', 'HEALTHCHECK --retries=a CMD x', 'strconv.ParseInt: parsing "a": invalid syntax'],
    ['I14', 'ONBUILD', 'ONBUILD requires at least one argument'],
    ['I14', 'ONBUILD onbuild RUN x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ['I14', 'ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
    ['I14', 'ONBUILD MAINTAINER x', "MAINTAINER isn't allowed as an ONBUILD trigger"],
    [
      'C02',
      'COPY',
      'COPY requires at least two arguments, but only one was provided. Destination could not be determined',
    ],
    [
      'C02',
      'COPY a',
      'COPY requires at least two arguments, but only one was provided. Destination could not be determined',
    ],
    [
      'C02',
      'ADD ["a"]',
      'ADD requires at least two arguments, but only one was provided. Destination could not be determined',
    ],
    ['F01', 'FROM', 'FROM requires either one or three arguments'],
    ['F01', 'FROM a b', 'FROM requires either one or three arguments'],
    ['F01', 'FROM a AS', 'FROM requires either one or three arguments'],
    ['F01', 'FROM a IS b', 'FROM requires either one or three arguments'],
    [
      'F02',
      'FROM a AS 1b',
      'invalid name for build stage: "1b", name can\'t start with a number or contain symbols',
    ],
    [
      'F02',
      'FROM a AS b/c',
      'invalid name for build stage: "b/c", name can\'t start with a number or contain symbols',
    ],
    ['L12', 'COPY --lnk a b', 'unknown flag: --lnk (did you mean link?)'],
    ['L12', 'COPY --whatever a b', 'unknown flag: --whatever'],
    ['L12', 'ADD --from=x a b', 'unknown flag: --from'],
    ['L12', 'USER --x a', 'unknown flag: --x'],
    ['L12', 'COPY --from=a --from=b c d', 'duplicate flag specified: --from'],
    ['L12', 'COPY --from c d', 'missing a value on flag: --from'],
    ['L12', 'COPY --link= c d', 'missing a value on flag: --link'],
    ['L12', 'COPY --link=y c d', 'expecting boolean value for flag --link, not: y'],
    ['L12', 'COPY --__proto__=y c d', 'unknown flag: --__proto__'],
    ['R04', 'RUN --network=x a', 'invalid network mode "x"'],
    ['R05', 'RUN --security=x a', 'security "x" is not valid'],
    ['R06', 'RUN --device=a,name=b c', 'device name already set to a'],
    [
      'R06',
      'RUN --device=a,requird=1 c',
      "unexpected key 'requird' in 'requird=1' (did you mean required?)",
    ],
    [
      'R08',
      'RUN --mount=from=$x,target=/a b',
      "'from' doesn't support variable expansion, define alias stage instead",
    ],
    [
      'R08',
      'RUN --mount=target=a\\"b c',
      'failed to parse csv mounts: parse error on line 1, column 9: bare " in non-quoted-field',
    ],
    [
      'R08',
      'RUN --mount=a,\\"b\\"c d',
      'failed to parse csv mounts: parse error on line 1, column 5: extraneous or missing " in quoted-field',
    ],
    [
      'R08',
      'RUN --mount=\\"ab c',
      'failed to parse csv mounts: parse error on line 1, column 2: extraneous or missing " in quoted-field',
    ],
    ['H03', 'COPY a <<EOF\nEOF', 'COPY cannot accept a heredoc as a destination'],
    ['H03', 'ADD a <<EOF\nEOF', 'ADD cannot accept a heredoc as a destination'],
  ]
  const fromNode = new Set(['L13', 'L15'])
  for (const [row, line, message] of refused) {
    test(`${row}: refuses ${line}`, () => {
      const error = failure(`FROM a\n${line}\n`)
      const bare = error.message.replace('dockerfile parse error on line 2: ', '')
      expect(bare).toBe(message)
      expect(error.span?.startLine).toBe(2)
      if (!fromNode.has(row)) expect(error.message).toMatch(/^dockerfile parse error on line 2: /)
    })
  }
})
