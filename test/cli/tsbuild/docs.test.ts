import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { buildFlags, unsupportedBuildFlags } from '../../../src/cli/tsbuild/build-flags.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/cli.md'), 'utf8')

/** Flag and what is done with it, of each row of the table below a heading. */
function rows(heading: string): (readonly [flag: string, here: string])[] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const found = [...section.matchAll(/^\| `--([a-z-]+)` \| (\w+) \|/gm)]
  return found.map(([, flag = '', here = '']) => [flag, here] as const)
}

const ofBuildx =
  'add-host allow annotation attest build-arg build-context builder cache-from cache-to call cgroup-parent check cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems debug file iidfile label load memory memory-swap metadata-file network no-cache no-cache-filter output platform policy progress provenance pull push quiet sbom secret shm-size ssh tag target ulimit'

const ofBuild = 'compress disable-content-trust force-rm isolation rm security-opt squash'

describe('docs/cli.md', () => {
  const all = [
    ...rows('Flags of docker buildx build'),
    ...rows('Flags of the older docker build'),
    ...rows('Flags of ours'),
  ]

  test('has every flag of docker buildx build and of docker build, in order', () => {
    expect(rows('Flags of docker buildx build').map(([flag]) => flag)).toEqual(ofBuildx.split(' '))
    expect(rows('Flags of the older docker build').map(([flag]) => flag)).toEqual(
      ofBuild.split(' '),
    )
  })

  test('has every flag of the program, and says of each what the program does with it', () => {
    const here = [
      ...Object.keys(buildFlags).map(flag => `${flag} taken`),
      ...Object.keys(unsupportedBuildFlags).map(flag => `${flag} refused`),
    ]
    const documented = all.map(([flag, what]) => `${flag} ${what === 'refused' ? what : 'taken'}`)
    expect(documented.toSorted()).toEqual(here.toSorted())
  })
})
