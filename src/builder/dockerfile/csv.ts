/**
 * One record of comma-separated fields with `"` quotes: the value of `--mount` and `--device`.
 */
import { DockerfileError } from './error.ts'

/** Throws DockerfileError for a stray or unclosed quote, with its column. */
export function csvFields(text: string): string[] {
  if (text === '') return []
  const fields: string[] = []
  for (let at = 0; ; ) {
    const { field, end } = text[at] === '"' ? quotedField(text, at) : plainField(text, at)
    fields.push(field)
    if (end >= text.length) return fields
    at = end + 1
  }
}

interface Field {
  readonly field: string
  /** Where the comma behind it is; past the end, when it is the last. */
  readonly end: number
}

function plainField(text: string, start: number): Field {
  const comma = text.indexOf(',', start)
  const end = comma === -1 ? text.length : comma
  const field = text.slice(start, end)
  const quote = field.indexOf('"')
  if (quote !== -1) throw malformed(start + quote, 'bare " in non-quoted-field')
  return { field, end }
}

/** `""` inside is one quote. */
function quotedField(text: string, start: number): Field {
  let field = ''
  for (let at = start + 1; ; ) {
    const quote = text.indexOf('"', at)
    if (quote === -1) throw malformed(at, 'extraneous or missing " in quoted-field')
    field += text.slice(at, quote)
    const next = text[quote + 1]
    if (next === undefined || next === ',') return { field, end: quote + 1 }
    if (next !== '"') throw malformed(quote, 'extraneous or missing " in quoted-field')
    field += '"'
    at = quote + 2
  }
}

function malformed(at: number, what: string): DockerfileError {
  return new DockerfileError(`parse error on line 1, column ${at + 1}: ${what}`)
}
