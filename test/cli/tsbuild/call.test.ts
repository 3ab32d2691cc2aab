// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { outlineOf } from '../../../src/builder/call/outline.ts'
import { listTargets } from '../../../src/builder/call/targets.ts'
import type { CheckReport } from '../../../src/builder/check-build.ts'
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import { lint } from '../../../src/builder/dockerfile/lint.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'
import { parseCall } from '../../../src/cli/tsbuild/call/call-flag.ts'
import { checkJson, checkSarif, checkText } from '../../../src/cli/tsbuild/call/check-output.ts'
import {
  methodsText,
  outlineJson,
  outlineText,
  targetsJson,
  targetsText,
} from '../../../src/cli/tsbuild/call/list-output.ts'
import { planAll, planText } from '../../builder/plan/planning.ts'
import { schemaErrors } from '../../support/json-schema.ts'
// The parts of OASIS's schema of SARIF 2.1.0 that what we print needs, descriptions left out.
import sarifSchema from './sarif-2.1.0.schema.json' with { type: 'json' }

const text = [
  '# which base',
  'ARG BASE=alpine',
  '# app the application',
  'FROM ${BASE}:3 as app',
  'ARG BASE',
  '# LEVEL how much is said',
  'ARG LEVEL=2 \\',
  '    token',
  'RUN --mount=type=secret,id=key,required=true --mount=type=ssh true',
  'MAINTAINER somebody',
  'FROM app',
  'CMD echo',
  '',
].join('\n')

function report(source = text): CheckReport {
  const findings = planAll(source).flatMap(stage => stage.findings)
  return {
    dockerfile: { name: 'Dockerfile', text: source },
    warnings: lint(parseDockerfile(source), findings),
  }
}

const golden = (name: string) => `golden/${name}`

describe('--call=check', () => {
  test('prints warnings as buildx does, with their lines', async () => {
    await expect(checkText(report())).toMatchFileSnapshot(golden('check.txt'))
  })

  test('prints BuildKit’s JSON and SARIF', async () => {
    await expect(checkJson(report())).toMatchFileSnapshot(golden('check.json'))
    const tool = { name: 'tsbuild', version: '1.0.0' }
    await expect(checkSarif(report(), tool)).toMatchFileSnapshot(golden('check.sarif'))
  })

  test('prints SARIF that its schema accepts, with paths from where the user is', () => {
    const tool = { name: 'tsbuild', version: '1.0.0' }
    const span = { startLine: 2, endLine: 3, start: 7, end: 20 }
    const error = new DockerfileError('no such thing', { span })
    const path = 'docker files/a:b#1.Dockerfile'
    const asked: CheckReport[] = [
      report(),
      report('FROM a\n'),
      { ...report(), error },
      { ...report(), dockerfile: { name: 'a:b#1.Dockerfile', path, text } },
    ]
    for (const one of asked) {
      expect(schemaErrors(sarifSchema, JSON.parse(checkSarif(one, tool)))).toEqual([])
    }
    const last = checkSarif(asked.at(-1) ?? report(), tool)
    expect(last).toContain('"uri": "docker%20files/a%3Ab%231.Dockerfile"')
    const broken = JSON.parse(last)
    broken.runs[0].results[0].level = 'grave'
    broken.runs[0].results[1].locations[0].physicalLocation.region.startLine = 0
    broken.runs[0].more = true
    expect(schemaErrors(sarifSchema, broken).toSorted()).toEqual([
      '$.runs[0].results[0].level: not one of none,note,warning,error',
      '$.runs[0].results[1].locations[0].physicalLocation.region.startLine: below 1',
      '$.runs[0]: has more',
    ])
  })

  test('counts one, and says when there is nothing to say', () => {
    expect(checkText(report('FROM a\nMAINTAINER x\n'))).toMatch(
      /^Check complete, 1 warning has been found!\n\nWARNING: MaintainerDeprecated - https:/,
    )
    expect(checkText(report('FROM a\n'))).toBe('Check complete, no warnings found.\n')
  })

  test('leaves a build error to the caller in text, and has it in JSON and SARIF', () => {
    const span = { startLine: 2, endLine: 3, start: 7, end: 20 }
    const failed = { ...report('FROM a\n'), error: new DockerfileError('no such thing', { span }) }
    expect(checkText(failed)).toBe('')
    expect(JSON.parse(checkJson(failed))).toMatchObject({
      buildError: {
        message: 'no such thing',
        location: { ranges: [2, 3].map(line => ({ start: { line }, end: { line } })) },
      },
    })
    const sarif = JSON.parse(checkSarif(failed, { name: 'tsbuild', version: '1' }))
    expect(sarif.runs[0].invocations[0]).toMatchObject({
      executionSuccessful: false,
      toolExecutionNotifications: [{ level: 'error', message: { text: 'no such thing' } }],
    })
  })

  test('no escape sequence of a Dockerfile reaches the terminal', () => {
    const hostile = report('FROM a\nCMD \u001b[31mred\n')
    expect(checkText(hostile)).not.toContain('\u001b')
  })
})

describe('--call=outline, targets, subrequests.describe', () => {
  const outline = outlineOf({ plan: planText(text), stages: planAll(text) })
  const targets = listTargets(parseDockerfile(text))

  test('lists what a target can be given', async () => {
    await expect(outlineText(outline)).toMatchFileSnapshot(golden('outline.txt'))
    await expect(outlineJson(outline, text)).toMatchFileSnapshot(golden('outline.json'))
  })

  test('tells values as given, and a named target’s name', () => {
    const given = { buildArgs: { BASE: 'debian', LEVEL: '5' }, target: 'app' }
    const named = outlineOf({ plan: planText(text, given), stages: planAll(text, given) })
    expect(named).toMatchObject({ name: 'app', description: 'the application' })
    expect(named.args.map(({ name, value }) => [name, value])).toEqual([
      ['BASE', 'debian'],
      ['LEVEL', '5'],
      ['token', undefined],
    ])
    expect(outlineText(named)).toMatch(/^TARGET: {6}app\nDESCRIPTION: the application\n\nBUILD ARG/)
  })

  test('asks for platform arguments only where the file or the user gives them, as BuildKit', () => {
    const asking = [
      ...[
        'ARG TARGETARCH',
        'ARG BUILDOS=plan9',
        'FROM scratch AS amd64',
        'FROM ${TARGETARCH} AS a',
      ],
      ...['ARG TARGETARCH', 'ARG TARGETOS', 'ARG BUILDOS', 'ARG TARGETVARIANT=v9', 'ARG T', ''],
    ].join('\n')
    const args = (buildArgs: Readonly<Record<string, string>>) => {
      const given = { buildArgs: { T: 'scratch', ...buildArgs } }
      const told = outlineOf({ plan: planText(asking, given), stages: planAll(asking, given) })
      return told.args.map(({ name, value }) => [name, value])
    }
    const others = [
      ['BUILDOS', 'plan9'],
      ['TARGETVARIANT', 'v9'],
      ['T', 'scratch'],
    ]
    expect(args({})).toEqual([['TARGETARCH', undefined], ...others])
    const [BUILDOS = [], ...last] = others
    expect(args({ TARGETARCH: 'amd64', TARGETOS: 'x' })).toEqual([
      ...[['TARGETARCH', 'amd64'], BUILDOS],
      ...[['TARGETOS', 'x'], ...last],
    ])
  })

  test('lists stages', async () => {
    await expect(targetsText(targets)).toMatchFileSnapshot(golden('targets.txt'))
    await expect(targetsJson(targets, text)).toMatchFileSnapshot(golden('targets.json'))
  })

  test('lists the methods', async () => {
    await expect(methodsText()).toMatchFileSnapshot(golden('methods.txt'))
  })
})

describe('parseCall()', () => {
  const parse = (call: string, check = false) => parseCall({ call, check })

  test('takes a method and its settings', () => {
    expect(parse('build')).toEqual({ method: 'build', format: 'text', ignoreStatus: false })
    expect(parse('build', true)).toMatchObject({ method: 'check' })
    expect(parse('lint,format=sarif')).toMatchObject({ method: 'check', format: 'sarif' })
    expect(parse('check,format=json,ignorestatus=true')).toEqual({
      method: 'check',
      format: 'json',
      ignoreStatus: true,
    })
  })

  test.each([
    ['outlin', 'expected build, check, outline'],
    ['check,format=xml', 'expected format=text|json|sarif'],
    ['check,colour=1', 'got "colour=1"'],
    ['outline,format=sarif', 'only check has format=sarif'],
  ])('refuses %s', (call, message) => {
    expect(() => parse(call)).toThrow(message)
  })

  test('refuses --check beside another method', () => {
    expect(() => parse('targets', true)).toThrow('--check is --call=check')
  })
})
