/**
 * COPY and ADD: sources, destination and flags (C01, C02).
 */
import { DockerfileError } from './error.ts'
import { type Flags, parseFlags } from './flags.ts'
import { type Heredoc, tryHeredocWord } from './heredoc.ts'
import type { CopyInstruction } from './instruction.ts'
import { type Common, kindOf, type Node, valuesOf } from './node.ts'

export function parseCopy(node: Node, common: Common): CopyInstruction {
  const kind = kindOf(node, ['copy', 'add'])
  const words = valuesOf(node)
  const dest = words.at(-1)
  if (dest === undefined || words.length < 2) {
    throw new DockerfileError(
      `${kind.toUpperCase()} requires at least two arguments, but only one was provided. Destination could not be determined`,
    )
  }
  const flags =
    kind === 'copy'
      ? copyFlags(parseFlags('copy', node.flags))
      : addFlags(parseFlags('add', node.flags))
  if (tryHeredocWord(dest) !== undefined) {
    throw new DockerfileError(`${kind.toUpperCase()} cannot accept a heredoc as a destination`)
  }
  return { kind, ...common, ...sourcesOf(node, words.slice(0, -1)), dest, ...flags }
}

/** Heredocs by the order of their words; the rest are paths, URLs and repositories. */
function sourcesOf(node: Node, words: readonly string[]) {
  const bodies = new Map(node.heredocs.map(heredoc => [heredoc.name, heredoc.content]))
  const sources: string[] = []
  const heredocs: Heredoc[] = []
  for (const word of words) {
    const heredoc = tryHeredocWord(word)
    if (heredoc === undefined) sources.push(word)
    else heredocs.push({ ...heredoc, content: bodies.get(heredoc.name) ?? '' })
  }
  return { sources, heredocs }
}

function copyFlags(flags: Flags<'copy'>) {
  return {
    ...present('from', flags.text('from')),
    ...present('chown', flags.text('chown')),
    ...present('chmod', flags.text('chmod')),
    link: flags.boolean('link') ?? false,
    parents: flags.boolean('parents') ?? false,
    exclude: flags.list('exclude'),
  }
}

function addFlags(flags: Flags<'add'>) {
  const keepGitDir = flags.boolean('keep-git-dir')
  const unpack = flags.boolean('unpack')
  return {
    ...present('chown', flags.text('chown')),
    ...present('chmod', flags.text('chmod')),
    ...present('checksum', flags.text('checksum')),
    link: flags.boolean('link') ?? false,
    parents: false,
    exclude: flags.list('exclude'),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(unpack === undefined ? {} : { unpack }),
  }
}

/** An empty value is as good as none. */
function present<Name extends string>(name: Name, value: string | undefined) {
  return value === undefined || value === '' ? {} : ({ [name]: value } as Record<Name, string>)
}
