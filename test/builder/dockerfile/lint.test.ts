// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { parseCheck } from '../../../src/builder/dockerfile/directive.ts'
import { parseIgnore } from '../../../src/builder/dockerfile/ignore.ts'
import { checkOptions, lint, refuseWarnings } from '../../../src/builder/dockerfile/lint.ts'
import { lintRules, type RuleName, ruleUrl } from '../../../src/builder/dockerfile/lint-rule.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import {
  defaultArgFindings,
  ignoredFileFindings,
  platformFinding,
} from '../../../src/builder/plan/lint-plan.ts'
import { arm64, type Given, planAll, planText } from '../plan/planning.ts'

/** `line: message` of every warning, with each `rule` it came from. */
function warnings(text: string, given: Given & { readonly ignore?: string } = {}) {
  const planned = planAll(text, given)
  const plan = planText(text, given)
  const ignore = parseIgnore(given.ignore ?? '')
  const findings = [
    ...plan.findings,
    ...defaultArgFindings(plan.dockerfile, plan.options),
    ...planned.flatMap(stage => stage.findings),
    ...planned.flatMap(stage => ignoredFileFindings(stage, ignore)),
  ]
  return lint(parseDockerfile(text), findings)
}

interface Case {
  readonly rule: RuleName
  readonly text: string
  readonly message: string
  readonly line: number
  /** The same, put right. */
  readonly fixed: string
  readonly given?: Given & { readonly ignore?: string }
}

const cases: readonly Case[] = [
  {
    rule: 'StageNameCasing',
    text: 'FROM a AS Build',
    message: "Stage name 'Build' should be lowercase",
    line: 1,
    fixed: 'FROM a AS build',
  },
  {
    rule: 'FromAsCasing',
    text: 'FROM a as b',
    message: "'as' and 'FROM' keywords' casing do not match",
    line: 1,
    fixed: 'from a as b',
  },
  {
    rule: 'NoEmptyContinuation',
    text: 'FROM a\nRUN b \\\n\nc',
    message: 'Empty continuation line',
    line: 4,
    fixed: 'FROM a\nRUN b \\\n# c\nc',
  },
  {
    rule: 'ConsistentInstructionCasing',
    text: 'FROM a\nrun b\nRUN c',
    message: "Command 'run' should match the case of the command majority (uppercase)",
    line: 2,
    fixed: 'from a\nrun b\nrun c',
  },
  {
    rule: 'DuplicateStageName',
    text: 'FROM a AS x\nFROM b AS x',
    message: 'Duplicate stage name "x", stage names should be unique',
    line: 2,
    fixed: 'FROM a AS x\nFROM b AS y',
  },
  {
    rule: 'ReservedStageName',
    text: 'FROM a AS scratch',
    message: 'Stage name should not use the same name as reserved stage "scratch"',
    line: 1,
    fixed: 'FROM a AS scratchy',
  },
  {
    rule: 'JSONArgsRecommended',
    text: 'FROM a\nCMD b',
    message:
      'JSON arguments recommended for CMD to prevent unintended behavior related to OS signals',
    line: 2,
    fixed: 'FROM a\nSHELL ["s"]\nCMD b',
  },
  {
    rule: 'MaintainerDeprecated',
    text: 'FROM a\nMAINTAINER b',
    message: 'Maintainer instruction is deprecated in favor of using label',
    line: 2,
    fixed: 'FROM a\nLABEL maintainer=b',
  },
  {
    rule: 'UndefinedArgInFrom',
    text: 'ARG VERSION=1\nFROM a:${VERSON:-1}',
    message: "FROM argument 'VERSON' is not declared (did you mean VERSION?)",
    line: 2,
    fixed: 'ARG VERSION=1\nFROM a:${VERSION:-1}',
  },
  {
    rule: 'WorkdirRelativePath',
    text: 'FROM a\nWORKDIR b',
    message: 'Relative workdir "b" can have unexpected results if the base image changes',
    line: 2,
    fixed: 'FROM a\nWORKDIR /b\nWORKDIR c',
  },
  {
    rule: 'UndefinedVar',
    text: 'FROM a\nARG DIR=x\nCOPY $DRI /',
    message: "Usage of undefined variable '$DRI' (did you mean $DIR?)",
    line: 3,
    fixed: 'FROM a\nARG DIR=x\nCOPY ${DRI:-x} /',
  },
  {
    rule: 'MultipleInstructionsDisallowed',
    text: 'FROM a\nCMD ["b"]\nCMD ["c"]',
    message:
      'Multiple CMD instructions should not be used in the same stage because only the last one will be used',
    line: 2,
    fixed: 'FROM a\nCMD ["b"]\nFROM a\nCMD ["c"]',
  },
  {
    rule: 'LegacyKeyValueFormat',
    text: 'FROM a\nENV b c',
    message: '"ENV key=value" should be used instead of legacy "ENV key value" format',
    line: 2,
    fixed: 'FROM a\nENV b=c',
  },
  {
    rule: 'RedundantTargetPlatform',
    text: 'FROM --platform=$TARGETPLATFORM a',
    message:
      'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
    line: 1,
    fixed: 'FROM --platform=$BUILDPLATFORM a',
  },
  {
    rule: 'SecretsUsedInArgOrEnv',
    text: 'FROM a\nARG API_KEY\n',
    message: 'Do not use ARG or ENV instructions for sensitive data (ARG "API_KEY")',
    line: 2,
    fixed: 'FROM a\nARG PUBLIC_KEY KEYBOARD TOKEN_FILE',
  },
  {
    rule: 'InvalidDefaultArgInFrom',
    text: 'ARG T\nFROM a:$T',
    message: 'Default value for ARG a:$T results in empty or invalid base image name',
    line: 2,
    fixed: 'ARG T=1\nFROM a:$T',
    given: { buildArgs: { T: '2' } },
  },
  {
    rule: 'FromPlatformFlagConstDisallowed',
    text: 'FROM --platform=linux/amd64 a AS b',
    message: 'FROM --platform flag should not use constant value "linux/amd64"',
    line: 1,
    fixed: 'FROM --platform=linux/amd64 a AS b-amd64',
  },
  {
    rule: 'CopyIgnoredFile',
    text: 'FROM a\nCOPY b/c /',
    message: 'Attempting to Copy file "b/c" that is excluded by .dockerignore',
    line: 2,
    fixed: 'FROM a\nCOPY d /',
    given: { ignore: 'b' },
  },
  {
    rule: 'ExposeProtoCasing',
    text: 'FROM a\nEXPOSE 80/TCP',
    message: "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
    line: 2,
    fixed: 'FROM a\nEXPOSE 80/tcp',
  },
  {
    rule: 'ExposeInvalidFormat',
    text: 'FROM a\nEXPOSE 80:81',
    message:
      "EXPOSE instruction should not define an IP address or host-port mapping, found '80:81'",
    line: 2,
    fixed: 'FROM a\nEXPOSE 80',
  },
  {
    rule: 'InvalidDefinitionDescription',
    text: '# check=experimental=all\n#\n# wrong words\nFROM a AS b',
    message: 'Comment for FROM should follow the format: `# b <description>`',
    line: 4,
    fixed: '# check=experimental=all\n#\n# b is right\nFROM a AS b',
  },
]

describe('lint()', () => {
  for (const { rule, text, message, line, fixed, given } of cases) {
    test(`${rule}: says so, in BuildKit's words`, () => {
      const found = warnings(text, given).filter(warning => warning.rule === rule)
      expect(found.map(warning => [warning.message, warning.span.startLine])).toEqual([
        [message, line],
      ])
      expect(found[0]?.url).toBe(ruleUrl(rule))
    })

    test(`${rule}: is silent about ${JSON.stringify(fixed)}`, () => {
      expect(warnings(fixed, given).filter(warning => warning.rule === rule)).toEqual([])
    })
  }

  test('InvalidBaseImagePlatform: tells both platforms, and has no page', () => {
    const { target } = planText('FROM a')
    const [stage] = planAll('FROM a')
    const image = stage?.image ?? {
      ...arm64,
      config: {},
      rootfs: { type: 'layers', diff_ids: [] },
      history: [],
    }
    expect(platformFinding(target, image)).toEqual([])
    expect(platformFinding(target, { ...image, ...arm64 })).toMatchObject([
      {
        message:
          'Base image a was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
      },
    ])
    expect(ruleUrl('InvalidBaseImagePlatform')).toBeUndefined()
  })

  test('there are 22 rules, each with a test', () => {
    const tested = new Set<string>([...cases.map(({ rule }) => rule), 'InvalidBaseImagePlatform'])
    expect(Object.keys(lintRules)).toHaveLength(22)
    expect(Object.keys(lintRules).filter(rule => !tested.has(rule))).toEqual([])
  })

  test('CopyIgnoredFile: cannot tell when the ignore file takes things back in', () => {
    const given = { ignore: 'b\n!b/c' }
    expect(warnings('FROM a\nCOPY b /', given)).toEqual([])
    expect(warnings('FROM a\nCOPY . /', { ignore: '*' })).toMatchObject([
      { rule: 'CopyIgnoredFile' },
    ])
    expect(warnings('FROM a\nCOPY . /', { ignore: 'b' })).toEqual([])
  })

  test('D05: check=skip= silences rules, or all', () => {
    const text = 'FROM a as B\nCMD x'
    expect(warnings(`# check=skip=FromAsCasing,StageNameCasing\n${text}`)).toMatchObject([
      { rule: 'JSONArgsRecommended' },
    ])
    expect(warnings(`# check=skip=all\n${text}`)).toEqual([])
  })

  test('D05: above an instruction it is about that instruction', () => {
    const text = 'FROM a\n# check=skip=JSONArgsRecommended\nENTRYPOINT b\nCMD c'
    expect(warnings(text).map(({ span }) => span.startLine)).toEqual([4])
  })

  test('by line', () => {
    const lines = warnings('FROM a as b\nrun x\nCMD y\nMAINTAINER z').map(
      ({ span }) => span.startLine,
    )
    expect(lines).toEqual([1, 2, 3, 4])
  })
})

describe('checkOptions()', () => {
  test('D05: a build argument replaces the directive', () => {
    const file = parseDockerfile('# check=skip=all;error=true\nFROM a')
    expect(checkOptions(file)).toEqual({ skip: 'all', experimental: [], error: true })
    expect(checkOptions(file, 'skip=A')).toEqual({ skip: ['A'], experimental: [], error: false })
  })

  test.each([
    ['foo=1', 'invalid check option "foo"'],
    ['skip', 'invalid check option "skip"'],
    [
      'error=maybe',
      'failed to parse check options: failed to parse check option "error=maybe": strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
  ])('D05: refuses %s', (text, message) => {
    expect(() => parseCheck(text)).toThrow(message)
  })

  test('D05: error=true makes warnings fail, by rule', () => {
    const found = warnings('FROM a as B\nFROM c as D')
    const check = { skip: [], experimental: [], error: true }
    expect(() => refuseWarnings(found, check)).toThrow(
      'lint violation found for rules: StageNameCasing, FromAsCasing',
    )
    expect(() => refuseWarnings(found, { ...check, error: false })).not.toThrow()
    expect(() => refuseWarnings([], check)).not.toThrow()
  })
})
