/**
 * Dockerfile text → instructions. Pure, total and linear: any text gives a `Dockerfile` or one
 * {@link DockerfileError} that says where and why.
 *
 * The language is that of BuildKit's Dockerfile frontend 1.25, messages included.
 */
import type { Directive } from './directive.ts'
import { atSpan, DockerfileError, prefixed } from './error.ts'
import type { Escape } from './expand.ts'
import { refuseForeignFrontend } from './frontend.ts'
import type { Instruction } from './instruction.ts'
import { directivesOf, type LineReader, lineReader, nextLogicalLine } from './lines.ts'
import { type Node, readNode } from './node.ts'
import { parseInstruction } from './parse-instruction.ts'
import type { Span } from './span.ts'

export interface Dockerfile {
  /** The name in messages. */
  readonly file: string
  readonly source: string
  readonly escape: Escape
  readonly directives: readonly Directive[]
  /** Begins with a FROM, or with ARGs and then a FROM. */
  readonly instructions: readonly Instruction[]
  /** Last lines of instructions with a blank line in them; a lint rule reports them. */
  readonly emptyContinuations: readonly Span[]
}

/**
 * Parses the whole text before it looks at any instruction, so the first broken line is reported
 * first and an instruction that makes no sense second. `syntax`: instead of the file's `# syntax=`.
 * Throws DockerfileError.
 */
export function parseDockerfile(
  source: string,
  file = 'Dockerfile',
  syntax?: string | undefined,
): Dockerfile {
  if (source === '') throw new DockerfileError('the Dockerfile cannot be empty', { file })
  refuseForeignFrontend(source, { file, override: syntax })
  const reader = lineReader(source, file)
  const { nodes, emptyContinuations } = readNodes(reader)
  if (nodes.length === 0) throw new DockerfileError('file with no instructions', { file })
  return {
    file,
    source: reader.source,
    escape: reader.escape,
    directives: directivesOf(reader),
    instructions: typedInstructions(nodes, file),
    emptyContinuations,
  }
}

/**
 * One instruction out of an image's config: an ONBUILD trigger. It is reported at `span`, the FROM
 * that fired it. Throws DockerfileError.
 */
export function parseTrigger(trigger: string, place: { file: string; span: Span }): Instruction {
  return atSpan(place, () => {
    const { nodes } = withoutSpans(() => readNodes(lineReader(trigger, place.file)))
    const [node] = nodes
    if (node === undefined || nodes.length > 1) {
      throw new DockerfileError('onbuild trigger should be a single expression')
    }
    const instruction = parseInstruction(node)
    if (instruction.kind === 'from' || instruction.kind === 'onbuild') {
      throw new DockerfileError(
        `${instruction.kind.toUpperCase()} isn't allowed as an ONBUILD trigger`,
      )
    }
    return { ...instruction, span: place.span }
  })
}

function readNodes(reader: LineReader): { nodes: Node[]; emptyContinuations: Span[] } {
  const nodes: Node[] = []
  const emptyContinuations: Span[] = []
  for (let line = nextLogicalLine(reader); line !== undefined; line = nextLogicalLine(reader)) {
    const logical = line
    if (line.emptyContinuation !== undefined) emptyContinuations.push(line.emptyContinuation)
    nodes.push(atSpan({ file: reader.file, span: line.span }, () => readNode(reader, logical)))
  }
  return { nodes, emptyContinuations }
}

/** ARGs may stand before the first FROM, nothing else (L09). */
function typedInstructions(nodes: readonly Node[], file: string): Instruction[] {
  const instructions: Instruction[] = []
  let hasStage = false
  for (const node of nodes) {
    const instruction = typedAt(node, file)
    hasStage ||= instruction.kind === 'from'
    if (!hasStage && instruction.kind !== 'arg') {
      throw new DockerfileError('no build stage in current context', {
        span: node.span,
        file,
        hint: 'Begin the Dockerfile with FROM',
      })
    }
    instructions.push(instruction)
  }
  if (!hasStage) throw new DockerfileError('dockerfile contains no stages to build', { file })
  return instructions
}

function typedAt(node: Node, file: string): Instruction {
  return atSpan({ file, span: node.span }, () => {
    try {
      return parseInstruction(node)
    } catch (error) {
      if (!(error instanceof DockerfileError)) throw error
      throw prefixed(`dockerfile parse error on line ${node.span.startLine}: `, error)
    }
  })
}

/** Positions inside a trigger mean nothing to the Dockerfile that inherits it. */
function withoutSpans<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw new DockerfileError(error.message, { hint: error.hint, cause: error.cause })
  }
}
