/** Help texts, generated from the command and flag tables and wrapped to the terminal's width. */
import type { Command } from './command.ts'
import type { Flag, FlagTable } from './flags.ts'
import type { Program } from './main.ts'

const widest = 100
const widestName = 32

export function programHelp(program: Program, columns: number): string {
  const width = Math.min(columns, widest)
  const nameWidth = Math.max(...program.commands.map(({ name }) => name.length))
  return lines([
    `Usage: ${program.name} ${program.fallback === undefined ? 'COMMAND' : '[COMMAND]'} [FLAGS] [ARGUMENTS]`,
    '',
    ...wrap(program.summary, width),
    ...examples(program.examples),
    ...groups(program.commands, entry => entry.group ?? 'Commands').flatMap(([title, entries]) => [
      '',
      `${title}:`,
      ...table(
        entries.map(({ name, summary }) => [name.padEnd(nameWidth), summary] as const),
        width,
      ),
    ]),
    '',
    `"${program.name} help COMMAND" tells more about a command; "${program.name} --version" prints the version`,
  ])
}

export function commandHelp(programName: string, command: Command, columns: number): string {
  const width = Math.min(columns, widest)
  return lines([
    `Usage: ${programName} ${command.name} ${command.usage}`.trimEnd(),
    '',
    ...wrap(command.summary, width),
    ...examples(command.examples.map(line => line.replaceAll('{program}', programName))),
    ...flagGroups(command.flags, width),
  ])
}

function examples(commandLines: readonly string[]): string[] {
  if (commandLines.length === 0) return []
  return ['', 'Examples:', ...commandLines.map(line => `  ${line}`)]
}

function flagGroups(flags: FlagTable, width: number): string[] {
  const shown = Object.entries(flags).filter(([, flag]) => flag.hidden !== true)
  return groups(shown, ([, flag]) => flag.group ?? 'Flags').flatMap(([title, entries]) => [
    '',
    `${title}:`,
    ...table(
      entries.map(([name, flag]) => [flagName(name, flag), flagText(flag)] as const),
      width,
    ),
  ])
}

/** `-t, --tag NAME`; flags without a short form line up with the long forms of the others. */
function flagName(name: string, flag: Flag): string {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `
  const value = valueName(flag)
  return `${short}--${name}${value === '' ? '' : ` ${value}`}`
}

function valueName(flag: Flag): string {
  if (flag.kind === 'boolean') return ''
  if (flag.kind === 'choice') return flag.choices.join('|')
  return flag.value
}

function flagText(flag: Flag): string {
  const notes = [
    ...(flag.kind === 'strings' ? ['repeatable'] : []),
    ...(flag.kind !== 'strings' && flag.default !== undefined && flag.default !== false
      ? [`default ${flag.default}`]
      : []),
    ...(flag.env === undefined ? [] : [`env ${flag.env}`]),
  ]
  return notes.length === 0 ? flag.help : `${flag.help} (${notes.join('; ')})`
}

/** Two columns; a name that is too long, or a narrow terminal, puts the text on the next line. */
function table(rows: readonly (readonly [string, string])[], width: number): string[] {
  const fitting = rows.map(([name]) => name.length).filter(length => length <= widestName)
  const nameWidth = Math.max(0, ...fitting) + 2
  const isNarrow = width < nameWidth + 30
  const indent = ' '.repeat(isNarrow ? 8 : nameWidth + 2)
  return rows.flatMap(([name, text]) => {
    const [first = '', ...more] = wrap(text, width - indent.length)
    const rest = more.map(line => indent + line)
    if (isNarrow || name.length > widestName) return [`  ${name}`, indent + first, ...rest]
    return [`  ${name.padEnd(nameWidth)}${first}`, ...rest]
  })
}

/** Breaks at spaces; a word longer than the line stands alone on it. */
function wrap(text: string, width: number): string[] {
  const out: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      out.push(line)
      line = ''
    }
    line += line === '' ? word : ` ${word}`
  }
  return [...out, line]
}

function groups<T>(entries: readonly T[], titleOf: (entry: T) => string): [string, T[]][] {
  const byTitle = new Map<string, T[]>()
  for (const entry of entries) {
    const title = titleOf(entry)
    byTitle.set(title, [...(byTitle.get(title) ?? []), entry])
  }
  return [...byTitle]
}

function lines(parts: readonly string[]): string {
  return `${parts.join('\n')}\n`
}
