/** Help texts, generated from the command and flag tables and wrapped to the terminal's width. */
import type { Command } from '../command.ts'
import type { Program } from '../program.ts'
import type { Flag, FlagTable } from './flags.ts'

const widest = 100
const widestName = 32

export function programHelp(program: Program, columns: number): string {
  const width = Math.min(columns, widest)
  const layout = layoutFor(
    program.commands.map(({ name }) => name),
    width,
  )
  return lines([
    `Usage: ${program.name} ${program.fallback === undefined ? 'COMMAND' : '[COMMAND]'} [FLAGS] [ARGUMENTS]`,
    '',
    ...wrap(program.summary, width),
    ...examples(program.examples),
    ...groups(program.commands, entry => entry.group ?? 'Commands').flatMap(([title, entries]) => [
      '',
      `${title}:`,
      ...entries.flatMap(({ name, summary }) => row(name, summary, layout)),
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
    ...examples(command.examples.map(line => exampleLine(line, programName, command.name))),
    ...flagGroups(command.flags, width),
  ])
}

function examples(commandLines: readonly string[]): string[] {
  if (commandLines.length === 0) return []
  return ['', 'Examples:', ...commandLines.map(line => `  ${line}`)]
}

function flagGroups(flags: FlagTable, width: number): string[] {
  const shown = Object.entries(flags).filter(([, flag]) => flag.hidden !== true)
  const layout = layoutFor(
    shown.map(([name, flag]) => flagName(name, flag)),
    width,
  )
  return groups(shown, ([, flag]) => flag.group ?? 'Flags').flatMap(([title, entries]) => [
    '',
    `${title}:`,
    ...entries.flatMap(([name, flag]) => row(flagName(name, flag), flagText(flag), layout)),
  ])
}

/** `-t, --tag NAME`; flags without a short form line up with the long forms of the others. */
function flagName(name: string, flag: Flag): string {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `
  const value = valueName(flag)
  const isOptional = flag.kind === 'choice' && flag.alone !== undefined
  return `${short}--${name}${value === '' ? '' : isOptional ? `[=${value}]` : ` ${value}`}`
}

function valueName(flag: Flag): string {
  if (flag.kind === 'boolean') return ''
  if (flag.kind === 'choice') return flag.choices.join('|')
  return flag.value
}

function flagText(flag: Flag): string {
  const shownDefault = defaultText(flag)
  const notes = [
    ...(flag.kind === 'strings' ? ['repeatable'] : []),
    ...(shownDefault === undefined ? [] : [`default ${shownDefault}`]),
    ...(flag.env === undefined ? [] : [`env ${flag.env}`]),
  ]
  return notes.length === 0 ? flag.help : `${flag.help} (${notes.join('; ')})`
}

/** As the user would type it. */
function defaultText(flag: Flag): string | undefined {
  if (flag.kind === 'strings' || flag.default === undefined || flag.default === false)
    return undefined
  if (flag.kind === 'size') return withUnit(Number(flag.default), sizeSteps)
  if (flag.kind === 'duration') return withUnit(Number(flag.default), durationSteps)
  return String(flag.default)
}

type UnitSteps = readonly (readonly [unit: string, amount: number])[]

const sizeSteps: UnitSteps = [
  ['g', 1024 ** 3],
  ['m', 1024 ** 2],
  ['k', 1024],
  ['', 1],
]
const durationSteps: UnitSteps = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

/** In the largest unit that needs no fraction. */
function withUnit(value: number, steps: UnitSteps): string {
  const step = steps.find(([, amount]) => value >= amount && value % amount === 0)
  return step === undefined ? String(value) : `${value / step[1]}${step[0]}`
}

function exampleLine(line: string, programName: string, commandName: string): string {
  const full =
    line.startsWith(`${commandName} `) || line === commandName ? `{program} ${line}` : line
  return full.replaceAll('{program}', programName)
}

interface Layout {
  readonly width: number
  /** Where the second column starts. */
  readonly indent: number
  /** A narrow terminal has each text on the line below its name. */
  readonly isNarrow: boolean
}

function layoutFor(names: readonly string[], width: number): Layout {
  const fitting = names.map(name => name.length).filter(length => length <= widestName)
  const indent = Math.max(0, ...fitting) + 4
  const isNarrow = width < indent + 30
  return { width, indent: isNarrow ? 8 : indent, isNarrow }
}

/** A name that is too long for its column has the text below it. */
function row(name: string, text: string, { width, indent, isNarrow }: Layout): string[] {
  const [first = '', ...more] = wrap(text, width - indent)
  const below = more.map(line => ' '.repeat(indent) + line)
  const isApart = isNarrow || name.length > indent - 4
  if (isApart) return [`  ${name}`, ' '.repeat(indent) + first, ...below]
  return [`  ${name.padEnd(indent - 2)}${first}`, ...below]
}

/** Breaks at spaces, and within a word that is longer than the line after `|` and `,`. */
function wrap(text: string, width: number): string[] {
  const out: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    let space = line === '' ? '' : ' '
    for (const part of word.length > width ? word.split(/(?<=[|,])/) : [word]) {
      if (line !== '' && line.length + space.length + part.length > width) {
        out.push(line)
        line = ''
        space = ''
      }
      line += space + part
      space = ''
    }
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
