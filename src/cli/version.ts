import { readFileSync } from 'node:fs'

/**
 * As in package.json, two directories above both `src/cli` and `dist/cli`. Not by `require`, which looks
 * for a millisecond at where it is.
 */
export function programVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
