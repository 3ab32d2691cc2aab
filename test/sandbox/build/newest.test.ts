/**
 * What only the BuildKit of today can build: compared with its answers as they were recorded, or
 * with TSBUILD_TEST_ALL=1 with itself, where there is a buildkitd. TSBUILD_RECORD=1 records them anew.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { type BuildCase, caseNames, openCase, sampleCases } from '../../support/build-cases.ts'
import {
  differences,
  type Facts,
  factsOfOurs,
  factsOfTheirs,
  isMountPoint,
} from '../../support/build-facts.ts'
import { busyboxRootfs } from '../../support/busybox.ts'
import { knownNewest } from '../../support/known-differences.ts'
import { readRecorded, restore, writeRecorded } from '../../support/recorded-facts.ts'
import { findBuildkit, startReferenceBuildkit } from '../../support/reference-buildkit.ts'
import type { ReferenceBuilder } from '../../support/reference-docker.ts'
import { describeWith } from '../../support/requires.ts'

const isRecording = process.env['TSBUILD_RECORD'] === '1'
const isAsked = isRecording || process.env['TSBUILD_TEST_ALL'] === '1'

describeWith(['root', 'busybox'], 'a build by the newest BuildKit and by us', () => {
  const recorded = readRecorded()
  const heard = new Map<string, Facts>()
  let directory: string
  let shop: Workshop
  let reference: ReferenceBuilder | undefined
  let base: Facts
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-newest-'))
    shop = await openWorkshop()
    if (isAsked && findBuildkit() !== undefined) {
      reference = await startReferenceBuildkit(directory, busyboxRootfs(directory))
    }
    const bare = { context: directory, dockerfile: 'FROM busybox', ignore: '**', flags: [] }
    base = await factsOfOurs(shop, bare)
  }, 60_000)
  afterAll(async () => {
    if (isRecording) writeRecorded(heard, base)
    await reference?.[Symbol.asyncDispose]()
    await shop?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true, maxRetries: 20 })
  }, 300_000)

  it.each(sampleCases(caseNames('compared-newest'), 5))('%s comes out the same', async name => {
    const which = openCase(name, join(directory, name))
    const [theirs, ours] = await Promise.all([answerOf(name, which), factsOfOurs(shop, which)])
    const found = differences(theirs, ours, isMountPoint)
    const reason = knownNewest[basename(name)]
    if (reason === undefined) expect(found).toEqual([])
    else expect(found, reason).not.toEqual([])
  })

  async function answerOf(name: string, which: BuildCase): Promise<Facts> {
    const before = recorded.get(basename(name))
    if (reference === undefined) {
      if (before === undefined) throw new Error(`${name} was not recorded: TSBUILD_RECORD=1`)
      return restore(before, base)
    }
    const facts = await factsOfTheirs(reference, which)
    heard.set(basename(name), facts)
    return facts
  }
})
