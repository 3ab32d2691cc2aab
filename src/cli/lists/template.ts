/**
 * `--format '{{.ID}} {{json .Labels}}'`: the part of Go's templates that scripts use.
 *
 *   action   = "{{" [ function ] operand … [ "|" function … ] "}}"
 *   operand  = ".A.B" | "." | "text" | number
 *   function = json | join | upper | lower | len | index | println
 *
 * Conditions, loops and variables are refused, not ignored.
 */
import { printable } from '../../oci/errors.ts'
import { CliError } from '../cli-error.ts'

export type Template = (value: unknown) => string

/** docker's exit code for a template that it cannot use. */
const badTemplate = 64

/** Throws a `CliError` with exit code 64 that quotes the action. */
export function parseTemplate(text: string): Template {
  const parts = readEscapes(text).split(/(\{\{.*?\}\})/)
  const pieces = parts.map((part): Template => {
    if (!part.startsWith('{{')) return () => part
    return parseAction(
      part
        .slice(2, -2)
        .replace(/^- | -$/g, '')
        .trim(),
    )
  })
  return value => pieces.map(piece => piece(value)).join('')
}

/** In a shell's single quotes `\t` stays two characters; docker reads it as a tab. */
function readEscapes(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')
}

type Expression = (value: unknown) => unknown

function parseAction(action: string): Template {
  if (action === '') throw refuse(action, 'it is empty')
  const stages = splitPipe(action).map(stage => tokens(stage, action))
  const evaluate = stages.reduce<Expression | undefined>(
    (piped, words) => parseStage(words, piped, action),
    undefined,
  )
  return value => shown(evaluate?.(value))
}

function splitPipe(action: string): string[] {
  return action.match(/(?:"(?:[^"\\]|\\.)*"|[^|"])+/g) ?? []
}

function tokens(stage: string, action: string): string[] {
  const found = stage.match(/"(?:[^"\\]|\\.)*"|[^\s"]+/g)
  if (found === null) throw refuse(action, 'it is empty')
  return found
}

function parseStage(
  [first = '', ...rest]: string[],
  piped: Expression | undefined,
  action: string,
): Expression {
  const operands = (words: readonly string[]) => words.map(word => parseOperand(word, action))
  const apply = functions[first]
  if (apply === undefined) {
    if (rest.length > 0 || piped !== undefined) throw refuse(action, `unknown function "${first}"`)
    return parseOperand(first, action)
  }
  const args = [...operands(rest), ...(piped === undefined ? [] : [piped])]
  return value => apply(args.map(arg => arg(value)))
}

const functions: Readonly<Record<string, (args: readonly unknown[]) => unknown>> = {
  json: ([value]) => JSON.stringify(value ?? null),
  join: ([list, separator]) => (Array.isArray(list) ? list.map(shown).join(shown(separator)) : ''),
  upper: ([text]) => shown(text).toUpperCase(),
  lower: ([text]) => shown(text).toLowerCase(),
  len: ([value]) => lengthOf(value),
  index: ([value, ...keys]) => keys.reduce((at, key) => member(at, shown(key)), value),
  println: args => `${args.map(shown).join(' ')}\n`,
}

function parseOperand(word: string, action: string): Expression {
  if (word === '.') return value => value
  if (/^(\.[A-Za-z_][A-Za-z0-9_]*)+$/.test(word)) {
    const path = word.slice(1).split('.')
    return value => path.reduce((at, key) => member(at, key), value)
  }
  if (/^\d+$/.test(word)) return () => Number(word)
  if (word.startsWith('"')) return () => JSON.parse(word) as unknown
  throw refuse(action, `"${printable(word)}" is not supported`)
}

function member(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return (value as Record<string, unknown>)[key]
}

function lengthOf(value: unknown): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : 0
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return '<no value>'
  if (Array.isArray(value)) return `[${value.map(shown).join(' ')}]`
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function refuse(action: string, reason: string): CliError {
  return new CliError(badTemplate, `Cannot use the format "{{${printable(action)}}}": ${reason}`, {
    hint: 'There are fields (.ID, .Config.Env) and json, join, upper, lower, len, index, println',
  })
}
