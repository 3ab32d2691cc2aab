/** How commands print lists: a table, `-q`, `--format json`, `--format TEMPLATE`. */
import type { FlagTable } from '../flags/flags.ts'
import { formatTable } from './table.ts'
import { parseTemplate } from './template.ts'

export const listFlags = {
  quiet: { kind: 'boolean', short: 'q', help: 'Print ids only' },
  'no-trunc': { kind: 'boolean', help: 'Do not shorten ids and commands' },
  format: {
    kind: 'string',
    value: 'FORMAT',
    default: 'table',
    help: '"table", "json" or a template such as "{{.ID}}"',
  },
} as const satisfies FlagTable

export interface ListFlags {
  /** Of commands that have no such flag, absent. */
  readonly quiet?: boolean
  readonly format: string
}

/** By docker's names: `{ ID: …, Repository: … }`. */
export interface ListRow {
  readonly ID: string
  readonly [field: string]: string
}

/** Fields by the heads above them, from left to right. */
export type ListColumns = Readonly<Record<string, string>>

/** Throws a `CliError` for a template that cannot be used. */
export function listOutput(
  rows: readonly ListRow[],
  columns: ListColumns,
  { quiet = false, format }: ListFlags,
): string {
  if (quiet) return [...new Set(rows.map(row => `${row.ID}\n`))].join('')
  if (format === 'json') return rows.map(row => `${JSON.stringify(row)}\n`).join('')
  if (format === 'table' || format === '') return tableOf(rows, columns)
  if (format.startsWith('table ')) return templateTable(rows, columns, format.slice(6))
  const template = parseTemplate(format)
  return rows.map(row => `${template(row)}\n`).join('')
}

function tableOf(rows: readonly ListRow[], columns: ListColumns): string {
  const fields = Object.values(columns)
  return formatTable(
    Object.keys(columns),
    rows.map(row => fields.map(field => row[field] ?? '')),
  )
}

/** `table {{.ID}}\t{{.Tag}}`: the heads are what the template makes of the column names. */
function templateTable(rows: readonly ListRow[], columns: ListColumns, text: string): string {
  const template = parseTemplate(text)
  const names = Object.fromEntries(Object.entries(columns).map(([head, field]) => [field, head]))
  const head = Object.fromEntries(
    Object.keys(rows[0] ?? names).map(field => [field, names[field] ?? field.toUpperCase()]),
  )
  const cells = (row: ListRow) => template(row).split('\t')
  return formatTable(cells({ ID: 'ID', ...head }), rows.map(cells))
}
