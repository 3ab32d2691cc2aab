import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { describeWith } from '../support/requires.ts'

const program = fileURLToPath(new URL('../../scripts/fuzz.mjs', import.meta.url))

/** More in the long lane. */
const seconds = process.env['FUZZ_SECONDS'] ?? '3'
/** The short run looks where it looked before: what is new is for the long lane to find. */
const seed = process.env['FUZZ_SECONDS'] === undefined ? ['--seed', '1'] : []
const timeout = 60_000 + 2000 * Number(seconds)

function fuzz(...args: string[]) {
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
}

describeWith(['build', 'root'], 'scripts/fuzz.mjs', () => {
  it.each(['tar', 'apply', 'dockerfile', 'phrases'])(
    'finds nothing in %s',
    target => {
      const { status, stderr, stdout } = fuzz(target, '--seconds', seconds, ...seed)
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
      expect(stdout).toMatch(/\d+ inputs, \d+ kept, \d{3,} places reached/)
    },
    timeout,
  )

  it('finds a fault that only coverage leads to, and runs what it found again', () => {
    const directory = mkdtempSync(join(tmpdir(), 'fuzz-test-'))
    try {
      const found = fuzz('maze', '--seconds', '30', '--seed', '7', '--save', directory)
      expect(found).toMatchObject({ status: 1, stderr: expect.stringContaining('end of the maze') })
      const [, path = ''] = /Input of \d+ bytes: (.+)/.exec(found.stderr) ?? []
      expect(
        readFileSync(path)
          .subarray(0, 4)
          .every(byte => byte < 16),
      ).toBe(true)
      const again = fuzz('maze', path, '--save', directory)
      expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('end of the maze') })
    } finally {
      rmSync(directory, { recursive: true })
    }
  }, 60_000)

  it('names the targets when it knows none of that name', () => {
    expect(fuzz('nothing')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('|tar|apply|'),
    })
  })
})
