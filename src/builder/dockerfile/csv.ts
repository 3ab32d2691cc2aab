/**
 * One record of comma-separated fields with `"` quotes: the value of `--mount` and `--device`.
 */
import { DockerfileError } from './error.ts'

/** Throws DockerfileError for a stray or unclosed quote. */
export function csvFields(text: string): string[] {
  if (text === '') return []
  const fields: string[] = []
  let rest = text
  for (;;) {
    const { field, after } = rest.startsWith('"') ? quotedField(rest) : plainField(rest)
    fields.push(field)
    if (after === undefined) return fields
    rest = after
  }
}

function plainField(text: string): { field: string; after: string | undefined } {
  const comma = text.indexOf(',')
  const field = comma === -1 ? text : text.slice(0, comma)
  if (field.includes('"')) throw new DockerfileError('parse error: bare " in non-quoted-field')
  return { field, after: comma === -1 ? undefined : text.slice(comma + 1) }
}

function quotedField(text: string): { field: string; after: string | undefined } {
  const match = /^"((?:[^"]|"")*)"(,|$)/.exec(text)
  if (match === null)
    throw new DockerfileError('parse error: extraneous or missing " in quoted-field')
  const [whole, quoted = '', comma] = match
  return {
    field: quoted.replaceAll('""', '"'),
    after: comma === ',' ? text.slice(whole.length) : undefined,
  }
}
