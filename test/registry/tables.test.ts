/** The tables of docs/registry-security.md name tests that are there. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const page = new URL('../../docs/registry-security.md', import.meta.url)
const rows = [...readFileSync(page, 'utf8').matchAll(/^\| (.+) \| `(\S+)` \| (.+) \|$/gm)].map(
  ([, what, file, named]) => ({ what, file, named: named ?? '' }),
)

it('has rows', () => {
  expect(rows.length).toBeGreaterThan(60)
})

it.each(rows)('$what: $file', ({ file, named }) => {
  expect(readFileSync(new URL(String(file), import.meta.url), 'utf8')).toContain(named)
})
