import { describe, expect, test } from 'vitest'
import type { BaseImages } from '../../src/builder/base-images.ts'
import { parseDockerfile } from '../../src/builder/dockerfile/parse.ts'
import { planBuild } from '../../src/builder/plan-build.ts'
import { type ErrorCode, OciError } from '../../src/oci/errors.ts'
import { amd64 } from './plan/planning.ts'

/** No registry has anything. */
function nothing(code: ErrorCode): BaseImages {
  const refuse = async () => {
    throw new OciError(code, 'not there')
  }
  return {
    find: refuse,
    resolve: refuse,
  }
}

function plan(text: string, code: ErrorCode = 'not-found') {
  const options = {
    buildArgs: new Map(),
    buildPlatform: amd64,
    targetPlatform: amd64,
    isMultiPlatform: false,
    namedContexts: new Set<string>(),
  }
  return planBuild(
    parseDockerfile(text),
    { plan: options, ignore: '' },
    { bases: nothing(code), stages: 'needed', findings: [] },
  )
}

describe('planBuild()', () => {
  test.each([
    ['FROM ubunut', 'not there (did you mean ubuntu?)', 1],
    [
      'FROM scratch AS builder\nFROM scratch\nCOPY --from=buidler /a /b',
      '(did you mean builder?)',
      3,
    ],
  ])('F13 asks of %j what may have been meant, at its line', async (text, message, startLine) => {
    const failure = plan(text)
    await expect(failure).rejects.toThrow(message)
    await expect(failure).rejects.toMatchObject({ code: 'not-found', span: { startLine } })
  })

  test('asks nothing of a right name, of one like no other, or when no registry answered', async () => {
    const exactly = { message: 'not there' }
    await expect(plan('FROM ubuntu')).rejects.toMatchObject(exactly)
    await expect(plan('FROM example.com/team/tool:3')).rejects.toMatchObject(exactly)
    await expect(plan('FROM ubunut', 'unavailable')).rejects.toMatchObject(exactly)
  })
})
