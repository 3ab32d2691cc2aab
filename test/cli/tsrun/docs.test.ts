import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Flag } from '../../../src/cli/flags/flags.ts'
import { runFlags, unsupportedRunFlags } from '../../../src/cli/tsrun/options/run-flags.ts'

const page = readFileSync(join(import.meta.dirname, '../../../docs/run.md'), 'utf8')

/** Flag and whether it is taken, of each row of the table below a heading. */
function rows(heading: string): string[] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  return [...section.matchAll(/^\| `--([a-z0-9-]+)` \| (yes|refused) \|/gm)].map(
    ([, flag = '', here = '']) => `${flag} ${here}`,
  )
}

const flagOf = (row: string) => row.split(' ')[0] ?? ''
const help = spawnSync('docker', ['run', '--help'], { encoding: 'utf8' }).stdout ?? ''

describe('docs/run.md', () => {
  test('has every flag of the program, and says of each what the program does with it', () => {
    const taken = Object.entries(runFlags as Readonly<Record<string, Flag>>).flatMap(
      ([name, flag]) => [name, ...(flag.aliases ?? [])],
    )
    const here = [
      ...taken.map(name => `${name} yes`),
      ...Object.keys(unsupportedRunFlags).map(name => `${name} refused`),
    ]
    const documented = [...rows('Flags of docker run'), ...rows('Flags of ours')]
    expect(documented.toSorted()).toEqual(here.toSorted())
  })

  test.skipIf(help === '')('has every flag of docker run (needs docker)', () => {
    const ofDocker = [...help.matchAll(/^ +(?:-\w, | {4})--([a-z0-9-]+)/gm)].map(([, name]) => name)
    expect(ofDocker.length).toBeGreaterThan(90)
    const missing = ofDocker.filter(
      name =>
        name !== 'help' &&
        !rows('Flags of docker run')
          .map(flagOf)
          .includes(name ?? ''),
    )
    expect(missing).toEqual([])
  })
})
