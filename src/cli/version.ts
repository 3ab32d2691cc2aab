import { createRequire } from 'node:module'

/** As in package.json, two directories above both `src/cli` and `dist/cli`. */
export function programVersion(): string {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
  return version
}
