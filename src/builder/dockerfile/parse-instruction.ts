/**
 * From a node to a typed instruction: which arguments and flags each instruction takes.
 */
import { DockerfileError } from './error.ts'
import { parseFlags } from './flags.ts'
import { goQuote } from './go-quote.ts'
import type {
  ArgDefinition,
  CommandInstruction,
  FromInstruction,
  Instruction,
  InstructionKind,
  KeyValue,
  ListInstruction,
  TextInstruction,
} from './instruction.ts'
import { type Common, keywordOf, keywords, kindOf, type Node, valuesOf } from './node.ts'
import { parseCopy } from './parse-copy.ts'
import { parseHealthcheck } from './parse-healthcheck.ts'
import { commandOf, parseRun } from './parse-run.ts'
import { trimSpace } from './space.ts'
import { didYouMeanAnyCase } from './suggest.ts'

type Parser = (node: Node, common: Common) => Instruction

const parsers: Readonly<Record<InstructionKind, Parser>> = {
  add: parseCopy,
  arg: parseArg,
  cmd: parseCommand,
  copy: parseCopy,
  entrypoint: parseCommand,
  env: parsePairs,
  expose: parseExpose,
  from: parseFrom,
  healthcheck: parseHealthcheck,
  label: parsePairs,
  maintainer: parseText,
  onbuild: parseOnbuild,
  run: parseRun,
  shell: parseShell,
  stopsignal: parseText,
  user: parseText,
  volume: parseVolume,
  workdir: parseText,
}

/** Throws DockerfileError without span: the caller knows the file. */
export function parseInstruction(node: Node): Instruction {
  const keyword = keywordOf(node.word)
  if (keyword === undefined) {
    const names = keywords.map(name => name.toUpperCase())
    throw new DockerfileError(
      `unknown instruction: ${node.word}${didYouMeanAnyCase(node.word, names)}`,
    )
  }
  const { span, word, line, comments } = node
  return parsers[keyword](node, { span, word, code: trimSpace(line), comments })
}

const stageName = /^[a-z][a-z0-9-_.]*$/

function parseFrom(node: Node, common: Common): FromInstruction {
  const [image, ...typedAs] = valuesOf(node)
  const [keyword, name] = typedAs
  const isNamed = typedAs.length === 2 && keyword?.toLowerCase() === 'as'
  const as = isNamed ? name?.toLowerCase() : undefined
  if (as !== undefined && !stageName.test(as)) {
    throw new DockerfileError(
      `invalid name for build stage: ${goQuote(name ?? '')}, name can't start with a number or contain symbols`,
    )
  }
  if (image === undefined || (typedAs.length > 0 && !isNamed)) {
    throw new DockerfileError('FROM requires either one or three arguments')
  }
  const platform = parseFlags('from', node.flags).text('platform')
  return {
    kind: 'from',
    ...common,
    image,
    typedAs,
    ...(platform === undefined || platform === '' ? {} : { platform }),
    ...(as === undefined ? {} : { as }),
  }
}

function parseArg(node: Node, common: Common): Instruction {
  const words = valuesOf(node)
  if (words.length === 0) throw atLeastOneArgument('ARG')
  return { kind: 'arg', ...common, args: words.map(argDefinition) }
}

function argDefinition(word: string): ArgDefinition {
  const equals = word.indexOf('=')
  if (equals === -1) return { name: word }
  if (equals === 0) throw blankName('ARG')
  return { name: word.slice(0, equals), value: word.slice(equals + 1) }
}

function parsePairs(node: Node, common: Common): Instruction {
  const kind = kindOf(node, ['env', 'label'])
  parseFlags(kind, node.flags)
  const pairs: readonly KeyValue[] = node.args.form === 'pairs' ? node.args.pairs : []
  if (pairs.length === 0) throw atLeastOneArgument(kind.toUpperCase())
  if (pairs.some(({ key }) => key === '')) throw blankName(kind.toUpperCase())
  return { kind, ...common, pairs }
}

function parseCommand(node: Node, common: Common): CommandInstruction {
  const kind = kindOf(node, ['cmd', 'entrypoint'])
  parseFlags(kind, node.flags)
  return { kind, ...common, command: commandOf(node) }
}

function parseText(node: Node, common: Common): TextInstruction {
  const kind = kindOf(node, ['workdir', 'user', 'stopsignal', 'maintainer'])
  const [text] = valuesOf(node)
  if (text === undefined) {
    throw new DockerfileError(`${kind.toUpperCase()} requires exactly one argument`)
  }
  if (kind !== 'stopsignal') parseFlags(kind, node.flags)
  return { kind, ...common, text }
}

function parseExpose(node: Node, common: Common): ListInstruction {
  const values = requiredValues(node, 'expose')
  return { kind: 'expose', ...common, values: values.toSorted() }
}

function parseVolume(node: Node, common: Common): ListInstruction {
  const values = requiredValues(node, 'volume').map(trimSpace)
  if (values.includes('')) throw new DockerfileError('VOLUME specified can not be an empty string')
  return { kind: 'volume', ...common, values }
}

function parseShell(node: Node, common: Common): ListInstruction {
  parseFlags('shell', node.flags)
  const values = valuesOf(node)
  if (values.length === 0) throw atLeastOneArgument('SHELL')
  if (node.args.form !== 'json') {
    throw new DockerfileError('SHELL requires the arguments to be in JSON form')
  }
  return { kind: 'shell', ...common, values }
}

function parseOnbuild(node: Node, common: Common): Instruction {
  if (node.args.form !== 'nested') throw atLeastOneArgument('ONBUILD')
  parseFlags('onbuild', node.flags)
  const inner = node.args.node.word.toUpperCase()
  if (inner === 'ONBUILD') {
    throw new DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
  }
  if (inner === 'MAINTAINER' || inner === 'FROM') {
    throw new DockerfileError(`${inner} isn't allowed as an ONBUILD trigger`)
  }
  const bodies = node.heredocs.map(({ content, name }) => `\n${content}${name}`)
  const trigger = node.line.replace(/^\s*ONBUILD\s*/i, '') + bodies.join('')
  return { kind: 'onbuild', ...common, trigger }
}

function requiredValues(node: Node, kind: 'expose' | 'volume'): readonly string[] {
  const values = valuesOf(node)
  if (values.length === 0) throw atLeastOneArgument(kind.toUpperCase())
  parseFlags(kind, node.flags)
  return values
}

function atLeastOneArgument(name: string): DockerfileError {
  return new DockerfileError(`${name} requires at least one argument`)
}

function blankName(name: string): DockerfileError {
  return new DockerfileError(`${name} names can not be blank`)
}
