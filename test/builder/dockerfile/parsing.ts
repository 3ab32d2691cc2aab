/** What the tests of the parser share. */
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import type { Instruction } from '../../../src/builder/dockerfile/instruction.ts'
import { parseDockerfile } from '../../../src/builder/dockerfile/parse.ts'

/** What the last instruction came to, without where it stood. */
export function parseLast(text: string): Partial<Instruction> {
  const last = parseDockerfile(text).instructions.at(-1)
  if (last === undefined) return {}
  const { span: _span, word: _word, code: _code, comments: _comments, ...rest } = last
  return rest
}

/** One instruction after a FROM. */
export function parseOne(line: string): Partial<Instruction> {
  return parseLast(`FROM a\n${line}\n`)
}

/** The error a text is refused with. */
export function failure(text: string): DockerfileError {
  try {
    parseDockerfile(text)
  } catch (error) {
    if (error instanceof DockerfileError) return error
    throw error
  }
  throw new Error(`parsed without error: ${text}`)
}
