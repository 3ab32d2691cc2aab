/**
 * Build checks: what is legal and probably not meant. The rules are in `lint-rule.ts`; those that
 * need no more than the instructions are decided here, the others while planning.
 */
import { type CheckOptions, defaultCheck, parseCheck, parseDirective } from './directive.ts'
import { DockerfileError } from './error.ts'
import { goQuote } from './go-quote.ts'
import type { FromInstruction, Instruction } from './instruction.ts'
import { type Finding, findingAt, lintRules, type RuleName, ruleUrl } from './lint-rule.ts'
import type { Dockerfile } from './parse.ts'
import type { Span } from './span.ts'

export interface LintWarning {
  readonly rule: RuleName
  readonly description: string
  readonly url?: string
  readonly message: string
  readonly span: Span
}

/** The findings of the instructions and those of planning that `check` lets through, by line. */
export function lint(
  dockerfile: Dockerfile,
  findings: readonly Finding[],
  check: CheckOptions = checkOptions(dockerfile),
): LintWarning[] {
  return [...instructionFindings(dockerfile), ...findings]
    .filter(finding => isOn(finding, check))
    .toSorted((a, b) => a.span.startLine - b.span.startLine)
    .map(warningOf)
}

/** What `# check=` at the top says; `override` is the build argument that replaces it (D05). */
export function checkOptions(dockerfile: Dockerfile, override?: string): CheckOptions {
  const directive = dockerfile.directives.find(({ name }) => name === 'check')
  const text = override ?? directive?.value.split(' ')[0]
  return text === undefined ? defaultCheck : parseCheck(text)
}

/** Throws DockerfileError when warnings were to be errors and there are some. */
export function refuseWarnings(warnings: readonly LintWarning[], check: CheckOptions): void {
  if (!check.error || warnings.length === 0) return
  const rules = [...new Set(warnings.map(({ rule }) => rule))]
  throw new DockerfileError(`lint violation found for rules: ${rules.join(', ')}`)
}

function warningOf({ rule, message, span }: Finding): LintWarning {
  const url = ruleUrl(rule)
  const { description } = lintRules[rule]
  return { rule, description, ...(url === undefined ? {} : { url }), message, span }
}

/** Experimental rules must be asked for; the others must not be skipped, here or above the line. */
function isOn(finding: Finding, check: CheckOptions): boolean {
  const checks = [check, ...finding.comments.flatMap(commentCheck)]
  const isExperimental = 'experimental' in lintRules[finding.rule]
  if (isExperimental) return checks.some(({ experimental }) => covers(experimental, finding.rule))
  return !checks.some(({ skip }) => covers(skip, finding.rule))
}

function covers(rules: 'all' | readonly string[], rule: RuleName): boolean {
  return rules === 'all' || rules.includes(rule)
}

/** `# check=skip=Rule` directly above an instruction is about that instruction alone. */
function commentCheck(comment: string): CheckOptions[] {
  const directive = parseDirective(comment, 0)
  if (directive?.name !== 'check') return []
  try {
    return [parseCheck(directive.value.split(' ')[0] ?? '')]
  } catch (error) {
    if (error instanceof DockerfileError) return []
    throw error
  }
}

function instructionFindings(dockerfile: Dockerfile): Finding[] {
  const { instructions } = dockerfile
  return [
    ...dockerfile.emptyContinuations.map(emptyContinuation),
    ...casingFindings(instructions),
    ...stageNameFindings(instructions),
    ...instructions.flatMap(descriptionFinding),
    ...instructions.flatMap(maintainerFinding),
  ]
}

function emptyContinuation(span: Span): Finding {
  return { rule: 'NoEmptyContinuation', message: 'Empty continuation line', span, comments: [] }
}

function maintainerFinding(instruction: Instruction): Finding[] {
  if (instruction.kind !== 'maintainer') return []
  const message = 'Maintainer instruction is deprecated in favor of using label'
  return [findingAt(instruction, 'MaintainerDeprecated', message)]
}

/** ARGs before the first FROM have no say in which casing is the majority's, nor must they follow. */
function casingFindings(instructions: readonly Instruction[]): Finding[] {
  const first = instructions.findIndex(({ kind }) => kind === 'from')
  const inStages = instructions.slice(first)
  const lower = inStages.filter(({ word }) => word === word.toLowerCase()).length
  const upper = inStages.filter(({ word }) => word === word.toUpperCase()).length
  const [majority, casing] =
    lower > upper ? (['lower', 'lowercase'] as const) : (['upper', 'uppercase'] as const)
  return inStages.flatMap(instruction => {
    const { word } = instruction
    if (word === (majority === 'lower' ? word.toLowerCase() : word.toUpperCase())) return []
    const message = `Command '${word}' should match the case of the command majority (${casing})`
    return [findingAt(instruction, 'ConsistentInstructionCasing', message)]
  })
}

const reservedNames = new Set(['context', 'scratch'])

function stageNameFindings(instructions: readonly Instruction[]): Finding[] {
  const seen = new Set<string>()
  return instructions.flatMap(instruction => {
    if (instruction.kind !== 'from' || instruction.as === undefined) return []
    const isRepeated = seen.has(instruction.as)
    seen.add(instruction.as)
    return [...nameFindings(instruction, instruction.as, isRepeated), ...asFindings(instruction)]
  })
}

function nameFindings(from: FromInstruction, name: string, isRepeated: boolean): Finding[] {
  const reserved = `Stage name should not use the same name as reserved stage ${goQuote(name)}`
  const repeated = `Duplicate stage name ${goQuote(name)}, stage names should be unique`
  return [
    ...(reservedNames.has(name) ? [findingAt(from, 'ReservedStageName', reserved)] : []),
    ...(isRepeated ? [findingAt(from, 'DuplicateStageName', repeated)] : []),
  ]
}

function asFindings(from: FromInstruction): Finding[] {
  const [as = '', name = ''] = from.typedAs
  const casing = `Stage name '${name}' should be lowercase`
  const mismatch = `'${as}' and '${from.word}' keywords' casing do not match`
  return [
    ...(name === name.toLowerCase() ? [] : [findingAt(from, 'StageNameCasing', casing)]),
    ...(matchesCase(from.word, as) ? [] : [findingAt(from, 'FromAsCasing', mismatch)]),
  ]
}

/** A FROM of mixed case is another rule's business. */
function matchesCase(from: string, as: string): boolean {
  if (from === from.toLowerCase()) return as === as.toLowerCase()
  return from !== from.toUpperCase() || as === as.toUpperCase()
}

function descriptionFinding(instruction: Instruction): Finding[] {
  const names = describedNames(instruction)
  const described = instruction.comments.at(-1)?.split(' ')[0]
  if (described === undefined || names.length === 0 || names.includes(described)) return []
  const example = names.length === 1 ? names[0] : '<arg_key>'
  const keyword = instruction.kind.toUpperCase()
  const message = `Comment for ${keyword} should follow the format: \`# ${example} <description>\``
  return [findingAt(instruction, 'InvalidDefinitionDescription', message)]
}

function describedNames(instruction: Instruction): string[] {
  if (instruction.kind === 'arg') return instruction.args.map(({ name }) => name)
  if (instruction.kind === 'from' && instruction.as !== undefined) return [instruction.as]
  return []
}
