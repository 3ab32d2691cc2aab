// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { unusedBuildArgs } from '../../../src/builder/plan/build-args.ts'
import { arm64, historyOf, lastStep, planFailure, planTarget } from './planning.ts'

/** What a variable is for a RUN at the end of the file. */
function seen(name: string, text: string, given = {}): string | undefined {
  const { env } = lastStep('run', `${text}\nRUN true`, given)
  return env.find(entry => entry.startsWith(`${name}=`))?.slice(name.length + 1)
}

describe('ARG', () => {
  test('A01: a global ARG is unknown in a stage until it is declared there', () => {
    expect(seen('G', 'ARG G=1\nFROM a')).toBeUndefined()
    expect(seen('G', 'ARG G=1\nFROM a\nARG G')).toBe('1')
  })

  test('A02: --build-arg, then the own default, then the global value', () => {
    const text = 'ARG G=global\nFROM a\nARG G=own'
    expect(seen('G', text, { buildArgs: { G: 'given' } })).toBe('given')
    expect(seen('G', text)).toBe('own')
    expect(seen('G', 'ARG G=global\nFROM a\nARG G')).toBe('global')
    expect(seen('G', 'FROM a\nARG G')).toBeUndefined()
  })

  test('A02: --build-arg values are not expanded', () => {
    expect(seen('G', 'FROM a\nARG G', { buildArgs: { G: '$PATH ${X}' } })).toBe('$PATH ${X}')
  })

  test('A03: ENV beats an ARG above it, also against --build-arg', () => {
    const text = 'FROM a\nARG X=arg\nENV X=env'
    expect(seen('X', text)).toBe('env')
    expect(seen('X', text, { buildArgs: { X: 'given' } })).toBe('env')
    expect(planTarget(text).image.config.Env).toEqual(['PATH=/bin', 'X=env'])
  })

  test('A04: reaches stages built on this one, and no others', () => {
    expect(seen('X', 'FROM a AS b\nARG X=1\nFROM b')).toBe('1')
    expect(seen('X', 'FROM a AS b\nARG X=1\nFROM a')).toBeUndefined()
    expect(historyOf('FROM a AS b\nARG X=1\nFROM b\nRUN c').at(-1)).toBe(
      'RUN |1 X=1 /bin/sh -c c # buildkit',
    )
  })

  test('A05: goes to RUN and its history, never to the config', () => {
    const text = 'FROM a\nARG B=2 C\nARG B=3\nRUN d'
    expect(historyOf(text)).toEqual([
      'ARG B=2 C',
      'ARG B=3',
      'RUN |2 B=3 C= /bin/sh -c d # buildkit',
    ])
    expect(planTarget(text).image.config.Env).toEqual(['PATH=/bin'])
  })

  test('V11: pairs on one line of ARG see those before them', () => {
    expect(historyOf('FROM a\nARG X=1 Y=$X')).toEqual(['ARG X=1 Y=1'])
  })

  test('V11: a default that cannot be expanded does not matter when a value is given', () => {
    const text = 'FROM a\nARG X=${Y:?needed}'
    expect(planFailure(text).message).toBe('failed to process "${Y:?needed}": Y: needed')
    expect(historyOf(text, { buildArgs: { X: '1' } })).toEqual(['ARG X=1'])
  })

  test('A07: platform arguments need only be declared', () => {
    const text = 'FROM a AS final\nARG TARGETARCH TARGETPLATFORM BUILDOS TARGETVARIANT TARGETSTAGE'
    expect(historyOf(text, { targetPlatform: arm64 })).toEqual([
      'ARG TARGETARCH=arm64 TARGETPLATFORM=linux/arm64 BUILDOS=linux TARGETVARIANT= TARGETSTAGE=final',
    ])
    expect(seen('TARGETARCH', 'FROM a')).toBeUndefined()
    expect(historyOf('FROM a\nARG TARGETSTAGE')).toEqual(['ARG TARGETSTAGE=default'])
  })

  test('A07: and can be overridden', () => {
    expect(seen('TARGETARCH', 'FROM a\nARG TARGETARCH', { buildArgs: { TARGETARCH: 'x' } })).toBe(
      'x',
    )
  })

  test('A09: what only tells the builder what to scan is no variable', () => {
    expect(
      seen('BUILDKIT_SBOM_SCAN_STAGE', 'FROM a\nARG BUILDKIT_SBOM_SCAN_STAGE=true'),
    ).toBeUndefined()
  })
})

describe('proxies', () => {
  const buildArgs = { http_proxy: 'p', HTTPS_PROXY: 'q', No_Proxy: 'n' }

  test('A08: reach RUN in both spellings, but not history', () => {
    const step = lastStep('run', 'FROM a\nRUN b', { buildArgs })
    expect(step.proxyEnv).toEqual([
      'HTTPS_PROXY=q',
      'https_proxy=q',
      'NO_PROXY=n',
      'no_proxy=n',
      'HTTP_PROXY=p',
      'http_proxy=p',
    ])
    expect(step.env.join()).not.toContain('roxy')
    expect(step.historyText).toBe('RUN /bin/sh -c b # buildkit')
  })

  test('A10: one that is declared is an ARG like any other', () => {
    const step = lastStep('run', 'FROM a\nARG http_proxy\nRUN b', { buildArgs })
    expect(step.historyText).toBe('RUN |1 http_proxy=p /bin/sh -c b # buildkit')
    expect(step.env).toContain('http_proxy=p')
  })

  test('A08: are there whatever ENV says', () => {
    const step = lastStep('run', 'FROM a\nENV HTTP_PROXY=env\nRUN b', { buildArgs })
    expect(step.proxyEnv).toContain('HTTP_PROXY=p')
    expect(step.env).toContain('HTTP_PROXY=env')
  })
})

describe('BUILDKIT_SANDBOX_HOSTNAME', () => {
  const hostname = (text: string) =>
    lastStep('run', 'FROM a\nRUN b', { buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: text } }).hostname

  test('A09: is what steps call their machine', () => {
    expect(hostname('build-1.example')).toBe('build-1.example')
    expect(hostname('')).toBeUndefined()
    expect(() => hostname('a\n127.0.0.1 b')).toThrow('invalid BUILDKIT_SANDBOX_HOSTNAME: a')
    expect(() => hostname('x'.repeat(65))).toThrow('invalid BUILDKIT_SANDBOX_HOSTNAME')
  })
})

describe('ENV', () => {
  test('V11: all pairs of one ENV see the values from before it', () => {
    expect(historyOf('FROM a\nENV X=1\nENV X=2 Y=$X').at(-1)).toBe('ENV X=2 Y=1')
  })

  test('I13: a later value takes the earlier one’s place', () => {
    const { image } = planTarget('FROM a\nENV X=1 Y=2\nENV X=3 PATH=$PATH:/x')
    expect(image.config.Env).toEqual(['PATH=/bin:/x', 'X=3', 'Y=2'])
  })

  test('V09: keys are expanded as well', () => {
    expect(planTarget('FROM a\nARG K=key\nENV $K=v').image.config.Env).toContain('key=v')
  })

  test('O07: a base without PATH gets one', () => {
    const { image } = planTarget('FROM a', { bases: { a: { Env: ['X=1'] } } })
    expect(image.config.Env).toEqual([
      'X=1',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ])
  })

  test('a base’s ENV is known in the stage', () => {
    const bases = { a: { Env: ['PATH=/p', 'V=1'] } }
    expect(historyOf('FROM a\nLABEL v=$V', { bases })).toEqual(['LABEL v=1'])
  })

  test('keeps values from growing without bounds', () => {
    const doubling = Array.from({ length: 40 }, () => 'ENV A=$A$A').join('\n')
    expect(planFailure(`FROM a\nENV A=xxxxxxxx\n${doubling}`).message).toContain('longer than')
  })
})

describe('a stage that would grow without bounds', () => {
  const mebibyte = `ARG A=xxxxxxxx\n${'ENV A=$A$A\n'.repeat(16)}`

  test.each([
    ['sources', `COPY ${'$A '.repeat(2_000)}/x/`],
    ['steps', 'RUN $A\n'.repeat(2_000)],
    ['labels', 'LABEL $A=$A\n'.repeat(2_000)],
    ['ports', `EXPOSE ${'0-65535 '.repeat(200)}`],
  ])('is refused: %s', (_, text) => {
    const error = planFailure(`FROM a\n${mebibyte}${text}`)
    expect(error.message).toMatch(/^stage expands to more than/)
    expect(error.code).toBe('too-large')
  })
})

describe('unusedBuildArgs()', () => {
  test('A06: names what nothing declares, but not what is predefined', () => {
    const given = new Map(
      ['X', 'Y', 'http_proxy', 'TARGETARCH', 'BUILDKIT_INLINE_CACHE'].map(name => [name, '']),
    )
    expect(unusedBuildArgs(given, new Set(['X']))).toEqual(['Y'])
  })
})
