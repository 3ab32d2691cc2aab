/** Files of lines: `--env-file`, `--label-file`. */
import { readFile } from 'node:fs/promises'

/** Neither empty ones nor comments. Throws ENOENT for a file that is missing. */
export async function linesOf(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8')
  return text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .map(line => line.trimStart())
    .filter(line => line !== '' && !line.startsWith('#'))
}
