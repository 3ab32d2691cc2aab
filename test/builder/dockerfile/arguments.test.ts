import { describe, expect, test } from 'vitest'
import { parseOne } from './parsing.ts'

const shell = (script: string) => ({ form: 'shell', script })
const exec = (...argv: string[]) => ({ form: 'exec', argv })

describe('arguments', () => {
  const accepted: readonly (readonly [string, string, object])[] = [
    ['L13: takes the JSON form', 'CMD ["a", "b c"]', { command: exec('a', 'b c') }],
    ['L13: allows blanks in front of it', 'CMD  [ "a" ] ', { command: exec('a') }],
    ['L13: takes what is not JSON as shell form', 'CMD ["a", b]', { command: shell('["a", b]') }],
    ['L13: so do single quotes', "CMD ['a']", { command: shell("['a']") }],
    ['L13: and text after the array', 'RUN ["a"] b', { command: shell('["a"] b') }],
    ['L14: for RUN', 'RUN ["a"]', { command: exec('a') }],
    ['L14: for ENTRYPOINT', 'ENTRYPOINT ["a"]', { command: exec('a') }],
    ['L14: for SHELL', 'SHELL ["a", "-c"]', { values: ['a', '-c'] }],
    ['L14: for VOLUME', 'VOLUME ["/a b", "/c"]', { values: ['/a b', '/c'] }],
    ['L14: for COPY', 'COPY ["a b", "c d"]', { sources: ['a b'], dest: 'c d' }],
    ['L14: for ADD', 'ADD ["a", "b", "/"]', { sources: ['a', 'b'], dest: '/' }],
    ['L14: for HEALTHCHECK', 'HEALTHCHECK CMD ["a"]', { test: ['CMD', 'a'] }],
    ['L14: not for USER', 'USER ["a"]', { text: '["a"]' }],
    ['L13: an empty array', 'CMD []', { command: exec() }],
    ['L19: an empty CMD', 'CMD', { command: shell('') }],
    ['L19: an empty ENTRYPOINT', 'ENTRYPOINT', { command: shell('') }],
    ['L19: an empty RUN', 'RUN', { command: shell('') }],
    [
      'L15: ENV with =',
      'ENV a=1 b=2',
      {
        pairs: [
          { key: 'a', value: '1', legacy: false },
          { key: 'b', value: '2', legacy: false },
        ],
      },
    ],
    [
      'L15: ENV the old way',
      'ENV a  b c=d',
      { pairs: [{ key: 'a', value: 'b c=d', legacy: true }] },
    ],
    [
      'L15: LABEL likewise',
      'LABEL a b',
      { kind: 'label', pairs: [{ key: 'a', value: 'b', legacy: true }] },
    ],
    [
      'L16: groups with quotes, which stay',
      'ENV a="b c" d=\'e f\'',
      {
        pairs: [
          { key: 'a', value: '"b c"', legacy: false },
          { key: 'd', value: "'e f'", legacy: false },
        ],
      },
    ],
    [
      'L16: keeps an escaped space in the word',
      'ENV a=b\\ c',
      { pairs: [{ key: 'a', value: 'b\\ c', legacy: false }] },
    ],
    [
      'L16: concatenates quoted parts',
      'ENV a="b"\'c\'d',
      { pairs: [{ key: 'a', value: '"b"\'c\'d', legacy: false }] },
    ],
    [
      'L16: continues between words',
      'ENV a=1 \\\n  b=2',
      {
        pairs: [
          { key: 'a', value: '1', legacy: false },
          { key: 'b', value: '2', legacy: false },
        ],
      },
    ],
    ['L15: an empty value', 'ENV a=', { pairs: [{ key: 'a', value: '', legacy: false }] }],
    [
      'L17: ARG with several',
      'ARG a b=1 c="x y" d=',
      {
        args: [
          { name: 'a' },
          { name: 'b', value: '1' },
          { name: 'c', value: '"x y"' },
          { name: 'd', value: '' },
        ],
      },
    ],
    ['L12: ARG does not look at flags', 'ARG --x a', { args: [{ name: 'a' }] }],
    ['L12: nor does STOPSIGNAL', 'STOPSIGNAL --x 9', { text: '9' }],
    ['L18: EXPOSE, sorted', 'EXPOSE 90 80/udp  8080', { values: ['80/udp', '8080', '90'] }],
    ['L18: WORKDIR is the rest of the line', 'WORKDIR /a b', { text: '/a b' }],
    ['L18: USER', 'USER a:b', { text: 'a:b' }],
    ['I11: MAINTAINER', 'MAINTAINER me <me@x>', { text: 'me <me@x>' }],
    ['I08: VOLUME in words', 'VOLUME /a /b', { values: ['/a', '/b'] }],
    ['I05: HEALTHCHECK NONE', 'HEALTHCHECK none', { test: ['NONE'] }],
    ['I05: HEALTHCHECK in shell form', 'HEALTHCHECK CMD a b', { test: ['CMD-SHELL', 'a b'] }],
    [
      'I05: HEALTHCHECK flags, in nanoseconds',
      'HEALTHCHECK --interval=1m30s --timeout=1500ms --start-period=2h --start-interval=1s --retries=3 cmd a',
      { interval: 90e9, timeout: 1.5e9, startPeriod: 7200e9, startInterval: 1e9, retries: 3 },
    ],
    ['I05: an interval of 0', 'HEALTHCHECK --interval=0s CMD a', { interval: 0 }],
    ['I14: ONBUILD', 'ONBUILD RUN a b', { kind: 'onbuild', trigger: 'RUN a b' }],
    ['I14: ONBUILD keeps flags', 'onbuild copy --from=x a b', { trigger: 'copy --from=x a b' }],
    [
      'L11: flags end at the first other word',
      'COPY --link a --chown=1 b',
      { sources: ['a', '--chown=1'], dest: 'b', link: true },
    ],
    ['L11: flags end at --', 'COPY --link -- --a b', { sources: ['--a'], dest: 'b', link: true }],
    [
      'L11: quotes and escapes in flag values',
      'COPY --chown="a b" --chmod=7\\5 a b',
      { chown: 'a b', chmod: '75' },
    ],
    ['L12: booleans', 'COPY --link=TRUE --parents=False a b', { link: true, parents: false }],
    ['L12: a list', 'COPY --exclude=a --exclude=b c d', { exclude: ['a', 'b'] }],
    [
      'C01: every flag of COPY',
      'COPY --from=s --chown=1:2 --chmod=644 --link --parents --exclude=x a b',
      { from: 's', chown: '1:2', chmod: '644', link: true, parents: true, exclude: ['x'] },
    ],
    [
      'C01: every flag of ADD',
      'ADD --chown=1 --chmod=u+x --link --exclude=x --keep-git-dir --checksum=c --unpack=false a b',
      { chown: '1', chmod: 'u+x', link: true, keepGitDir: true, checksum: 'c', unpack: false },
    ],
    [
      'C22: names with % and a dash in front',
      'COPY -a b% c/',
      { sources: ['-a', 'b%'], dest: 'c/' },
    ],
    [
      'R04, R05, R06: flags of RUN',
      'RUN --network=none --security=insecure --device=v.com/d=x,required a',
      {
        network: 'none',
        security: 'insecure',
        devices: [{ name: 'v.com/d=x', required: true }],
        command: shell('a'),
      },
    ],
    [
      'R07: mounts stay text until variables are known',
      'RUN --mount=type=cache,target=$A --mount=from=b,target=/c d',
      { mounts: [{ text: 'type=cache,target=$A' }, { text: 'from=b,target=/c', from: 'b' }] },
    ],
    [
      'F01: FROM',
      'FROM --platform=$P b:1 AS Build-1',
      { kind: 'from', image: 'b:1', platform: '$P', as: 'build-1', typedAs: ['AS', 'Build-1'] },
    ],
  ]
  for (const [name, line, expected] of accepted) {
    test(`${name}: ${line}`, () => expect(parseOne(line)).toMatchObject(expected))
  }
})
