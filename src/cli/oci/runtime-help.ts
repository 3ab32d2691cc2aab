import type { Flag, FlagTable } from '../flags/flags.ts'
import { runtimeCommands } from './commands.ts'

/** Of one command, where it is known, or of the program. */
export async function runtimeHelp(
  program: string,
  globals: FlagTable,
  name?: string,
): Promise<string> {
  const entry = name === undefined ? undefined : runtimeCommands.get(name)
  if (entry === undefined) {
    const commands = Array.from(runtimeCommands, ([word, { summary }]) => [word, summary])
    return [
      `Usage: ${program} [FLAGS] COMMAND [FLAGS] ID …\n`,
      'Runs bundles of the OCI runtime specification; podman and containerd drive it.\n',
      `Commands:\n${columns(commands)}`,
      `Flags:\n${columns(Object.entries(globals).map(flagLine))}`,
    ].join('\n')
  }
  const flags = Object.entries((await entry.load()).flags).map(flagLine)
  const list = flags.length === 0 ? '' : `\nFlags:\n${columns(flags)}`
  return `Usage: ${program} [FLAGS] ${entry.usage}\n\n${entry.summary}\n${list}`
}

function flagLine([name, flag]: [string, Flag]): [string, string] {
  const short = flag.short === undefined ? '    ' : `-${flag.short}, `
  const value = 'value' in flag ? ` ${flag.value}` : ''
  return [`${short}--${name}${value}`, flag.help]
}

function columns(rows: readonly (readonly string[])[]): string {
  const width = Math.max(...rows.map(([first = '']) => first.length))
  return rows.map(([first = '', second = '']) => `  ${first.padEnd(width)}   ${second}\n`).join('')
}
