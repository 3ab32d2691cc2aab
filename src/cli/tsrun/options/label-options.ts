/** `--label` and `--label-file`, as docker reads them. */
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { linesOf } from './lines-file.ts'

/** Files first. Throws a usage error that quotes the word, and ENOENT for a file that is missing. */
export async function labelsOf(
  words: readonly string[],
  files: readonly string[] = [],
): Promise<Record<string, string>> {
  const lines = await Promise.all(files.map(linesOf))
  const pairs = [...lines.flat(), ...words].map((word): [string, string] => {
    const equals = word.indexOf('=')
    const [key, value] =
      equals === -1 ? [word, ''] : [word.slice(0, equals), word.slice(equals + 1)]
    if (key === '' || /\s/.test(key)) {
      throw usageError(`Cannot use label "${printable(word)}": expected KEY=VALUE`)
    }
    return [key, value]
  })
  return Object.fromEntries(pairs)
}

/** As docker lists them: `a=1,b=2`. */
export function formatLabels(labels: Readonly<Record<string, string>> = {}): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}
