/**
 * The same Dockerfiles through BuildKit and through us: config, history and every file compared.
 *
 * BuildKit is a buildkitd where there is one, else the one in Debian's dockerd 20.10: what is newer
 * is compared in newest.test.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { type BuildCase, caseNames, openCase, sampleCases } from '../../support/build-cases.ts'
import { differences, factsOfOurs, factsOfTheirs, isMountPoint } from '../../support/build-facts.ts'
import { busyboxRootfs } from '../../support/busybox.ts'
import { knownDifferences, knownNewest } from '../../support/known-differences.ts'
import { findBuildkit, startReferenceBuildkit } from '../../support/reference-buildkit.ts'
import { type ReferenceBuilder, startReferenceDocker } from '../../support/reference-docker.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['root', 'busybox', 'buildkit'], 'a build by BuildKit and by us', () => {
  let directory: string
  let shop: Workshop
  let reference: ReferenceBuilder
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-differential-'))
    shop = await openWorkshop()
    const start = findBuildkit() === undefined ? startReferenceDocker : startReferenceBuildkit
    reference = await start(directory, busyboxRootfs(directory))
  }, 60_000)
  afterAll(async () => {
    await reference?.[Symbol.asyncDispose]()
    await shop?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true, maxRetries: 20 })
  }, 60_000)

  it.each(sampleCases(caseNames('compared'), 3))('%s comes out the same', async name => {
    const which = openCase(name, join(directory, name))
    const [theirs, ours] = await Promise.all([
      factsOfTheirs(reference, which),
      factsOfOurs(shop, which),
    ])
    const found = differences(theirs, ours, (fact, there, here) =>
      isOfItsTime(fact, { there, here, dockerfile: which.dockerfile }),
    )
    const reason = (reference.isNewest ? knownNewest : knownDifferences)[basename(name)]
    if (reason === undefined) expect(found).toEqual([])
    else expect(found, reason).not.toEqual([])
  })
})

interface Pair extends Pick<BuildCase, 'dockerfile'> {
  readonly there: string | undefined
  readonly here: string | undefined
}

/** What BuildKit itself did otherwise in 2022. */
function isOfItsTime(name: string, { there, here, dockerfile }: Pair): boolean {
  if (isMountPoint(name, there, here)) return true
  // So did those of its own mounts.
  if (here === undefined && there === '40755 0:0') return dockerfile.includes('--mount')
  // A map had no order, and was shown as one.
  if (name === 'ExposedPorts' || name === 'Volumes') return isSameJson(there, here)
  if (!name.startsWith('history ') || there === undefined || here === undefined) return false
  if (there.includes('"EXPOSE map[')) return here.includes('"EXPOSE [')
  if (there.includes('"HEALTHCHECK &{')) return here.includes('"HEALTHCHECK {')
  // The flags of COPY and ADD, and what --build-arg gave an ARG, were not shown.
  if (/"(COPY|ADD) --/.test(here)) return there === here.replace(/ --(chown|chmod)=\S+/g, '')
  return /"ARG /.test(there) && /"ARG /.test(here)
}

function isSameJson(there: string | undefined, here: string | undefined): boolean {
  const sorted = (text = '{}') => Object.keys(JSON.parse(text)).sort().join()
  return sorted(there) === sorted(here)
}
