// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { suggestImage } from '../../../src/builder/plan/stage-lookup.ts'
import { amd64, arm64, planAll, planFailure, planTarget, planText } from './planning.ts'

const indexes = (text: string, target?: string) =>
  planText(text, target === undefined ? {} : { target }).stages.map(({ index }) => index)

describe('FROM', () => {
  test('F13: normalises references', () => {
    expect(planText('FROM busybox').target.base).toEqual({
      kind: 'image',
      reference: 'docker.io/library/busybox:latest',
      platform: amd64,
    })
  })

  test('F03: scratch is no image', () => {
    const target = planTarget('FROM scratch')
    expect(target.stage.base).toEqual({ kind: 'scratch' })
    expect(target.image.config).toEqual({
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      WorkingDir: '/',
    })
  })

  test('F02: a stage is found by its name, whatever the case', () => {
    const { target } = planText('FROM a AS Build\nFROM BUILD')
    expect(target.base).toEqual({ kind: 'stage', stage: 0 })
  })

  test('F06: the last bearer of a name wins, among those above a FROM', () => {
    const plan = planText('FROM a AS x\nFROM x AS x\nFROM x')
    expect(plan.all.map(({ base }) => base)).toMatchObject([
      { kind: 'image' },
      { kind: 'stage', stage: 0 },
      { kind: 'stage', stage: 1 },
    ])
  })

  test('a name that only a later stage has is an image here', () => {
    expect(planText('FROM later\nFROM a AS later', { target: '0' }).target.base).toMatchObject({
      reference: 'docker.io/library/later:latest',
    })
  })

  test('A01: sees global ARGs, each those above it', () => {
    const text = 'ARG R=reg.io\nARG I=$R/app\nFROM ${I}:${T:-1}'
    expect(planText(text).target.base).toMatchObject({ reference: 'reg.io/app:1' })
    expect(planText(text, { buildArgs: { R: 'other.io' } }).target.base).toMatchObject({
      reference: 'other.io/app:1',
    })
    expect(planFailure(text, { buildArgs: { I: 'x:$R' } }).message).toContain('"x:$R:1"')
  })

  test('F05: refuses a name that is blank', () => {
    const error = planFailure('FROM a\nFROM ${X}')
    expect(error.message).toBe('base name (${X}) should not be blank')
    expect(error.span?.startLine).toBe(2)
  })

  test('F10: --platform defaults to the target', () => {
    const text = 'FROM --platform=$BUILDPLATFORM a AS b\nFROM c\nCOPY --from=b x y'
    const { all } = planText(text, { targetPlatform: arm64 })
    expect(all.map(({ platform }) => platform)).toEqual([amd64, arm64])
  })

  test('F04: FROM a stage is of that stage’s platform', () => {
    const { target } = planText('FROM --platform=linux/arm64 a AS b\nFROM b')
    expect(target.platform).toEqual(arm64)
  })

  test('F05: refuses a platform that is blank or none, suggesting a name', () => {
    expect(planFailure('FROM --platform=$BUILDPLATFROM a').message).toBe(
      'empty platform value from expression $BUILDPLATFROM (did you mean BUILDPLATFORM?)',
    )
    expect(planFailure('FROM --platform=a/b/c/d a').message).toMatch(
      /^failed to parse platform a\/b\/c\/d: /,
    )
  })

  test('F13: refuses what names no image', () => {
    expect(planFailure('FROM Foo/Bar').message).toBe(
      'failed to parse stage name "Foo/Bar": invalid reference format: repository name (Foo/Bar) must be lowercase',
    )
    expect(planFailure('FROM a::b').message).toBe(
      'failed to parse stage name "a::b": invalid reference format',
    )
  })
})

describe('the target', () => {
  const text = 'FROM a AS one\nFROM b AS two\nFROM c'

  test('F08: is the last stage, or the one that is asked for', () => {
    expect(planText(text).target.index).toBe(2)
    expect(planText(text, { target: 'TWO' }).target.index).toBe(1)
    expect(planText(text, { target: '0' }).target.index).toBe(0)
  })

  test('F08: refuses one that is not there, with what was meant', () => {
    const error = planFailure(text, { target: 'tow' })
    expect(error.message).toBe('target stage "tow" could not be found (did you mean two?)')
    expect(error.code).toBe('not-found')
    expect(planFailure(text, { target: '3' }).message).toContain('"3" could not be found')
  })

  test('F09: only what it needs is planned, each after what it needs', () => {
    const file =
      'FROM a AS x\nFROM b AS y\nFROM c AS z\nCOPY --from=x p q\nFROM d\nRUN --mount=from=z,target=/z r'
    expect(indexes(file)).toEqual([0, 2, 3])
    expect(indexes(file, 'y')).toEqual([1])
  })

  test('F09: an unused stage with a bad base never fails', () => {
    expect(indexes('FROM no::image AS x\nFROM b')).toEqual([1])
  })

  test('F09: nor does one whose steps are wrong', () => {
    expect(planAll('FROM a\nSTOPSIGNAL nonsense\nFROM b')).toHaveLength(1)
  })
})

describe('COPY --from and mounts', () => {
  test('F07: finds stages by name and number, else an image', () => {
    const { target } = planText(
      'FROM a AS x\nFROM b\nCOPY --from=X 1 2\nCOPY --from=0 1 2\nCOPY --from=img:2 1 2',
    )
    expect(target.instructions.flatMap(({ origins }) => origins)).toEqual([
      { kind: 'stage', stage: 0 },
      { kind: 'stage', stage: 0 },
      { kind: 'image', reference: 'docker.io/library/img:2', platform: amd64 },
    ])
    expect(target.needs.map(({ kind }) => kind)).toEqual(['image', 'stage', 'image'])
  })

  test('F07: pulls images for the target platform, not the stage’s', () => {
    const { target } = planText('FROM --platform=$BUILDPLATFORM a\nCOPY --from=b 1 2', {
      targetPlatform: arm64,
    })
    expect(target.needs).toMatchObject([{ platform: amd64 }, { platform: arm64 }])
  })

  test('F07: refuses a number that no stage has', () => {
    expect(planFailure('FROM a\nCOPY --from=1 b c').message).toBe('invalid stage index 1')
    expect(planFailure('FROM a\nCOPY --from=-1 b c').message).toBe('invalid stage index -1')
  })

  test('F07: refuses a stage below, naming both', () => {
    const error = planFailure('FROM a AS one\nCOPY --from=two b c\nFROM d AS two', {
      target: 'one',
    })
    expect(error.message).toBe(
      'cannot copy from stage "two", it needs to be defined before current stage "one"',
    )
    expect(error.span?.startLine).toBe(2)
  })

  test('R16: refuses to mount from a stage below', () => {
    const error = planFailure('FROM a AS one\nRUN --mount=from=two,target=/t b\nFROM d AS two', {
      target: 'one',
    })
    expect(error.message).toBe(
      'cannot mount from stage "two" to "/t", stage needs to be defined before current command',
    )
  })

  test('F07: refuses stages that read from each other, and from themselves', () => {
    const circle = 'FROM a AS x\nCOPY --from=y 1 2\nFROM b AS y\nCOPY --from=x 1 2'
    expect(planFailure(circle).message).toBe('circular dependency detected on stage: x')
    expect(planFailure('FROM a\nCOPY --from=0 1 2').message).toBe(
      'circular dependency detected on stage: stage-0',
    )
  })

  test('V10: takes variables in --from that ARG or ENV of the file define, also of the stage below', () => {
    const stages = 'ARG G=one\nFROM x AS one\nFROM y AS two\n'
    const origin = (body: string, options = {}) => {
      const { target } = planText(`${stages}${body}`, options)
      return target.instructions.at(-1)?.origins[0]
    }
    const first = { kind: 'stage', stage: 0 }
    const second = { kind: 'stage', stage: 1 }
    expect(origin('FROM z\nARG S=two\nCOPY --from=$S 1 2')).toEqual(second)
    expect(origin('FROM z\nARG G\nCOPY --from=${G} 1 2')).toEqual(first)
    expect(origin('FROM z\nARG S=two\nCOPY --from=$S 1 2', { buildArgs: { S: 'one' } })).toEqual(
      first,
    )
    expect(origin('FROM z AS b\nENV S=tw\nFROM b\nENV S=${S}o\nCOPY --from=$S 1 2')).toEqual(second)
    expect(origin('FROM z\nARG V=1.2\nCOPY --from=tools:$V 1 2')).toMatchObject({
      kind: 'image',
      reference: 'docker.io/library/tools:1.2',
    })
  })

  test('V10: refuses variables in --from that the file does not define', () => {
    const message =
      'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround'
    for (const body of [
      'COPY --from=$X 1 2',
      'ARG X\nCOPY --from=$X 1 2',
      'ARG X=$PATH\nCOPY --from=$X 1 2',
      'COPY --from=$X 1 2\nARG X=one',
      'ARG X=${Y\nCOPY --from=$X 1 2',
      'ENV X=""\nCOPY --from=$X 1 2',
    ]) {
      expect(planFailure(`FROM a AS one\nFROM b\n${body}`).message).toBe(message)
    }
  })

  test('finds circles in thousands of stages without overflowing the stack', () => {
    const stages = Array.from({ length: 5_000 }, (_, index) =>
      index === 0 ? 'FROM a AS s0' : `FROM a AS s${index}\nCOPY --from=s${index - 1} x y`,
    )
    expect(planText(stages.join('\n')).stages).toHaveLength(5_000)
  })
})

describe('named contexts', () => {
  test('F11: replace images, stages and sources', () => {
    const text = 'FROM alpine AS x\nRUN gone\nFROM b\nCOPY --from=x 1 2\nCOPY --from=c 1 2'
    const plan = planText(text, { namedContexts: ['x', 'docker.io/library/b', 'c'] })
    expect(plan.all[0]).toMatchObject({ base: { kind: 'named', name: 'x' }, instructions: [] })
    expect(plan.target.base).toMatchObject({ kind: 'named', name: 'docker.io/library/b' })
    expect(plan.target.needs).toMatchObject([{ kind: 'named' }, { stage: 0 }, { name: 'c' }])
  })

  test('F11: scratch and context cannot be replaced', () => {
    const plan = planText('FROM scratch', { namedContexts: ['scratch'] })
    expect(plan.target.base).toEqual({ kind: 'scratch' })
  })
})

describe('suggestImage()', () => {
  test('knows stages and common images', () => {
    const { all } = planText('FROM a AS builder')
    expect(suggestImage(all, 'bulder')).toBe(' (did you mean builder?)')
    expect(suggestImage(all, 'alpin')).toBe(' (did you mean alpine?)')
    expect(suggestImage(all, 'something')).toBe('')
  })
})
