// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { fromDisplayName } from '../../../src/builder/plan/stage-label.ts'
import { type Given, historyOf, planAll, planFailure, planTarget, planText } from './planning.ts'

const configOf = (text: string, given?: Given) => planTarget(`FROM a\n${text}`, given).image.config
const history = (text: string) => historyOf(`FROM a\n${text}`)
const refusal = (text: string) => planFailure(`FROM a\n${text}`).message

describe('the config', () => {
  test('I01: CMD in either form', () => {
    expect(configOf('CMD ["a", "b"]')).toMatchObject({ Cmd: ['a', 'b'], ArgsEscaped: true })
    expect(configOf('CMD a $b').Cmd).toEqual(['/bin/sh', '-c', 'a $b'])
    expect(configOf('SHELL ["s"]\nCMD a').Cmd).toEqual(['s', 'a'])
  })

  test('I02: ENTRYPOINT clears a CMD of the base, not one of the stage', () => {
    const bases = { a: { Cmd: ['old'] } }
    expect(configOf('ENTRYPOINT ["e"]', { bases }).Cmd).toBeUndefined()
    expect(configOf('CMD ["c"]\nENTRYPOINT ["e"]', { bases }).Cmd).toEqual(['c'])
    expect(configOf('ENTRYPOINT ["e"]\nCMD ["c"]', { bases }).Cmd).toEqual(['c'])
  })

  test('L19: ENTRYPOINT [] resets it', () => {
    const bases = { a: { Entrypoint: ['old'], Cmd: ['c'] } }
    expect(configOf('ENTRYPOINT []', { bases })).not.toHaveProperty('Entrypoint')
    expect(configOf('CMD []', { bases })).not.toHaveProperty('Cmd')
  })

  test('I05: HEALTHCHECK, in nanoseconds, without what was not said', () => {
    expect(configOf('HEALTHCHECK --interval=30s --retries=3 CMD x').Healthcheck).toEqual({
      Test: ['CMD-SHELL', 'x'],
      Interval: 30e9,
      Retries: 3,
    })
    expect(configOf('HEALTHCHECK NONE').Healthcheck).toEqual({ Test: ['NONE'] })
  })

  test.each(['SIGTERM', 'TERM', 'sigterm', '9', 'SIGRTMIN+3', 'RTMAX-2'])(
    'I06: STOPSIGNAL %s',
    signal => {
      expect(configOf(`STOPSIGNAL ${signal}`).StopSignal).toBe(signal)
    },
  )

  test.each(['FOO', '0', 'SIGRTMIN+99', '1x'])('I06: refuses STOPSIGNAL %s', signal => {
    expect(refusal(`STOPSIGNAL ${signal}`)).toBe(`invalid signal: ${signal}`)
  })

  test('I07: USER is kept as text, expanded', () => {
    expect(configOf('ARG U=5\nUSER $U:g').User).toBe('5:g')
  })

  test('I08: VOLUME adds to the base’s', () => {
    const bases = { a: { Volumes: { '/x': {} } } }
    expect(
      configOf('VOLUME /a $PATH', { bases: { a: { ...bases.a, Env: ['PATH=/p'] } } }).Volumes,
    ).toEqual({
      '/x': {},
      '/a': {},
      '/p': {},
    })
    expect(refusal('VOLUME $NOPE')).toBe('VOLUME specified can not be an empty string')
  })

  test('I09: EXPOSE, with ranges, protocols and variables of several ports', () => {
    const text = 'ARG P="90-91/UDP 92"\nEXPOSE 80 $P 1.2.3.4:5:93 [::1]:1:94'
    expect(Object.keys(configOf(text).ExposedPorts ?? {}).toSorted()).toEqual([
      '80/tcp',
      '90/udp',
      '91/udp',
      '92/tcp',
      '93/tcp',
      '94/tcp',
    ])
  })

  test.each([
    ['x', 'invalid containerPort: x'],
    ['65536', 'invalid containerPort: 65536'],
    ['90-80', 'invalid containerPort: 90-80'],
    ['80/zz', 'invalid port: "80/zz": invalid proto: zz'],
    ['/tcp', 'invalid port: "/tcp": no port specified'],
    ['x:80', 'invalid hostPort: x'],
    ['a:1:80', 'invalid IP address: a'],
    ['1-3:80-81', 'invalid ranges specified for container and host Ports: 80-81 and 1-3'],
  ])('I09: refuses EXPOSE %s', (port, message) => {
    expect(refusal(`EXPOSE ${port}`)).toBe(message)
  })

  test('I10: LABEL merges over the base, also odd keys', () => {
    const bases = { a: { Labels: { a: '1', b: '2' } } }
    expect(configOf('LABEL b=3 "c d"="" __proto__=x', { bases }).Labels).toEqual(
      Object.fromEntries([
        ['a', '1'],
        ['b', '3'],
        ['c d', ''],
        ['__proto__', 'x'],
      ]),
    )
  })

  test('I11: MAINTAINER is the author, unexpanded', () => {
    expect(planTarget('FROM a\nMAINTAINER $me').image.author).toBe('$me')
  })

  test('I12: WORKDIR joins, cleans and makes a layer, except for the root', () => {
    const { steps, image } = planTarget('FROM a\nUSER u\nWORKDIR x/../y/\nWORKDIR z\nWORKDIR /')
    expect(steps.slice(1)).toMatchObject([
      { kind: 'workdir', path: '/y', user: 'u', historyText: 'WORKDIR /y' },
      { kind: 'workdir', path: '/y/z' },
      { kind: 'metadata', historyText: 'WORKDIR /' },
    ])
    expect(image.config.WorkingDir).toBe('/')
    expect(image.history.at(-1)).toMatchObject({ empty_layer: true })
  })

  test('I04: SHELL is inherited by stages', () => {
    expect(planTarget('FROM a AS b\nSHELL ["s"]\nFROM b\nRUN x').steps).toMatchObject([
      { argv: ['s', 'x'] },
    ])
  })

  test('O06, O08: keeps everything else of the base', () => {
    const bases = {
      a: {
        Labels: { l: '1' },
        Volumes: { '/v': {} },
        StopSignal: 'X',
        Healthcheck: { Test: ['NONE'] },
      },
    }
    expect(configOf('ENV a=1', { bases })).toMatchObject(bases.a)
  })

  test('O11: the order of instructions and keys leaves no trace in the config', () => {
    const one = configOf('LABEL b=2 a=1\nEXPOSE 90 80\nUSER u\nSTOPSIGNAL 9\nVOLUME /b /a')
    const other = configOf(
      'VOLUME /a /b\nSTOPSIGNAL 9\nUSER u\nLABEL a=1\nLABEL b=2\nEXPOSE 80\nEXPOSE 90',
    )
    expect(JSON.stringify(one)).toBe(JSON.stringify(other))
  })

  test('I03: only the last CMD counts', () => {
    expect(configOf('CMD ["a"]\nCMD ["b"]').Cmd).toEqual(['b'])
  })

  test('a hundred thousand instructions plan in linear time', () => {
    const text = `FROM a\n${'RUN x\n'.repeat(50_000)}${'LABEL a=b\n'.repeat(50_000)}`
    expect(planTarget(text).steps).toHaveLength(100_000)
  })

  test('never changes what the base was', () => {
    const [first, second] = planAll('FROM a AS b\nLABEL x=1\nENV E=1\nFROM b\nLABEL x=2\nENV E=2')
    expect(first?.image.config).toMatchObject({ Labels: { x: '1' }, Env: ['PATH=/bin', 'E=1'] })
    expect(second?.image.config).toMatchObject({ Labels: { x: '2' }, Env: ['PATH=/bin', 'E=2'] })
  })
})

describe('history', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['ENV a=1 b="c d"', 'ENV a=1 b=c d'],
    ['ENV a b c', 'ENV a=b c'],
    ['LABEL "a b"=c', 'LABEL a b=c'],
    ['ARG a b=1', 'ARG a b=1'],
    ['CMD ["a", "b\\n\\"q\\" é"]', 'CMD ["a" "b\\n\\"q\\" é"]'],
    ['CMD a', 'CMD ["/bin/sh" "-c" "a"]'],
    ['CMD []', 'CMD []'],
    ['ENTRYPOINT ["a"]', 'ENTRYPOINT ["a"]'],
    ['WORKDIR a', 'WORKDIR /a'],
    ['USER a', 'USER a'],
    ['EXPOSE 90/udp 80', 'EXPOSE [80/tcp 90/udp]'],
    ['VOLUME /a /b', 'VOLUME [/a /b]'],
    ['STOPSIGNAL 9', 'STOPSIGNAL 9'],
    ['SHELL ["a", "b"]', 'SHELL [a b]'],
    ['MAINTAINER me', 'MAINTAINER me'],
    [
      'HEALTHCHECK --interval=90s CMD ["a"]',
      'HEALTHCHECK {Test:[CMD a] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}',
    ],
    ['RUN a', 'RUN /bin/sh -c a # buildkit'],
    ['COPY a b', 'COPY a b # buildkit'],
    ['ADD --chmod=1 a b', 'ADD --chmod=1 a b # buildkit'],
  ]
  for (const [line, text] of cases) {
    test(`O03: ${line}`, () => expect(history(line)).toEqual([text]))
  }

  test('O02: one entry per instruction behind the base’s, ONBUILD none', () => {
    const { image } = planTarget('FROM a\nENV a=1\nONBUILD RUN x\nRUN b')
    expect(image.history).toEqual([
      { created_by: 'base' },
      { created_by: 'ENV a=1', comment: 'buildkit.dockerfile.v0', empty_layer: true },
      { created_by: 'RUN /bin/sh -c b # buildkit', comment: 'buildkit.dockerfile.v0' },
    ])
  })
})

describe('ONBUILD', () => {
  const bases = { parent: { Env: ['PATH=/b'], OnBuild: ['COPY . /app', 'RUN make $X'] } }

  test('I14: triggers of an image run right after FROM', () => {
    const { steps, image } = planTarget('FROM parent\nRUN own', { bases })
    expect(steps.map(step => step.displayName)).toEqual([
      '[2/4] ONBUILD COPY . /app',
      '[3/4] ONBUILD RUN make $X',
      '[4/4] RUN own',
    ])
    expect(steps[0]).toMatchObject({ fromTrigger: true, span: { startLine: 1, endLine: 1 } })
    expect(image.config.OnBuild).toBeUndefined()
  })

  test('I14: triggers of a stage run in the stages built on it, and no further', () => {
    const [parent, child, grandchild] = planAll(
      'FROM a AS p\nONBUILD ENV T=1\nFROM p AS c\nRUN x\nFROM c\nRUN y',
    )
    expect(parent?.image.config.OnBuild).toEqual(['ENV T=1'])
    expect(child?.steps.map(step => step.historyText)).toEqual([
      'ENV T=1',
      'RUN /bin/sh -c x # buildkit',
    ])
    expect(child?.image.config.OnBuild).toBeUndefined()
    expect(grandchild?.steps).toHaveLength(1)
  })

  test('I14: a trigger may need a stage that nothing else does', () => {
    const given = { bases: { parent: { OnBuild: ['COPY --from=assets / /'] } } }
    const plan = planText('FROM a AS assets\nFROM parent', given)
    expect(plan.stages.map(({ index }) => index)).toEqual([0, 1])
    expect(planText('FROM a AS assets\nFROM plain', given).stages).toHaveLength(1)
  })

  test('I14: heredocs fire with their bodies', () => {
    const [, child] = planAll('FROM a AS p\nONBUILD COPY <<E /x\nhi $V\nE\nFROM p\nENV V=1')
    expect(child?.steps[0]).toMatchObject({ sources: [{ file: { path: 'E', content: 'hi \n' } }] })
  })

  test('refuses a trigger that is no single instruction, at the FROM', () => {
    const error = planFailure('FROM x\nFROM parent', {
      bases: { parent: { OnBuild: ['RUN a\nRUN b'] } },
    })
    expect(error.message).toBe('onbuild trigger should be a single expression')
    expect(error.span?.startLine).toBe(2)
    const hostile = { bases: { parent: { OnBuild: ['FROM evil'] } } }
    expect(planFailure('FROM parent', hostile).message).toContain('ONBUILD trigger')
  })
})

describe('fromDisplayName()', () => {
  test('is the first step of a stage on an image', () => {
    const { target } = planText('FROM a\nFROM a AS b\nRUN c')
    expect(fromDisplayName(target, 'docker.io/library/a:latest')).toBe(
      '[b 1/2] FROM docker.io/library/a:latest',
    )
  })
})
