/** How commands print all about things: as JSON, or by `--format TEMPLATE`. */
import { parseTemplate } from './template.ts'

/** `example`: a template that says something of what the command prints. */
export function documentsFlag(example: string) {
  return {
    kind: 'string',
    short: 'f',
    value: 'FORMAT',
    help: `"json" or a template such as "${example}"`,
  } as const
}

/** Throws a `CliError` for a template that cannot be used: before anything is looked for. */
export function documentsOutput(
  format = 'json',
): (documents: readonly Readonly<Record<string, unknown>>[]) => string {
  if (format === 'json') return documents => `${JSON.stringify(documents, undefined, 4)}\n`
  const template = parseTemplate(format)
  return documents => documents.map(document => `${template(document)}\n`).join('')
}
