import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BuildEvent } from '../../../src/builder/build-event.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'

const isRoot = process.getuid?.() === 0

function warnings(events: readonly BuildEvent[]): string[] {
  return events.flatMap(event => (event.kind === 'warning' ? [event.message] : []))
}

describe.skipIf(!isRoot)('build checks (need root)', () => {
  let shop: Workshop

  beforeAll(async () => {
    shop = await openWorkshop()
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  it('D05 a build warns, in BuildKit’s short form, once per place', async () => {
    using built = await shop.build('FROM busybox as a\nMAINTAINER x\nRUN true\nCMD echo')
    expect(warnings(built.events)).toEqual([
      "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)",
      'MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)',
      'JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 4)',
    ])
  })

  it('D05 error=true fails the build before any step runs', async () => {
    const text = '# check=error=true\nFROM busybox\nMAINTAINER x\nRUN exit 3'
    await expect(shop.build(text)).rejects.toThrow(
      'failed to solve: lint violation found for rules: MaintainerDeprecated',
    )
    using skipped = await shop.build('# check=error=true;skip=all\nFROM busybox\nMAINTAINER x')
    expect(warnings(skipped.events)).toEqual([])
  })

  it('A09 BUILDKIT_DOCKERFILE_CHECK says instead of the Dockerfile', async () => {
    const buildArgs = { BUILDKIT_DOCKERFILE_CHECK: 'skip=MaintainerDeprecated' }
    const text = '# check=error=true\nFROM busybox\nMAINTAINER x'
    using built = await shop.build(text, { buildArgs })
    expect(warnings(built.events)).toEqual([])
  })

  it('CopyIgnoredFile and a platform that differs are told, too', async () => {
    shop.write({ secret: '' })
    const failing = shop.check('FROM busybox\nCOPY secret /', { ignore: 'secret' })
    expect((await failing).warnings.map(({ rule }) => rule)).toEqual(['CopyIgnoredFile'])
    const other = await shop.check('FROM --platform=linux/s390x busybox')
    expect(other.warnings.map(({ rule }) => rule)).toEqual([
      'FromPlatformFlagConstDisallowed',
      'InvalidBaseImagePlatform',
    ])
  })

  it('a check looks at every stage, a check of a target at those it needs', async () => {
    const text =
      'FROM busybox AS a\nMAINTAINER a\nCMD a\nFROM busybox AS b\nRUN --mount=type=ssh exit 1\nCMD b'
    const lines = async (target?: string) =>
      (await shop.check(text, target === undefined ? {} : { target })).warnings.map(
        ({ rule, span }) => `${rule} ${span.startLine}`,
      )
    expect(await lines()).toEqual([
      'MaintainerDeprecated 2',
      'JSONArgsRecommended 3',
      'JSONArgsRecommended 6',
    ])
    expect(await lines('b')).toEqual(['MaintainerDeprecated 2', 'JSONArgsRecommended 6'])
  })

  it('a check tells what it found before the build error, and the error', async () => {
    const report = await shop.check('FROM busybox AS x\nFROM busybox as y\nCOPY --chmod=9 a b')
    expect(report.warnings.map(({ rule }) => rule)).toEqual(['FromAsCasing'])
    expect(report.error?.message).toContain('invalid chmod parameter')
    expect((await shop.check('FROM')).error?.message).toContain('FROM requires either one')
  })
})
