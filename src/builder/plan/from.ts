/**
 * FROM lines: names and platforms expanded with the global ARGs, and what they mean (F01–F11).
 */
import { OciError } from '../../oci/errors.ts'
import { formatPlatform, type Platform, parsePlatform } from '../../oci/platform.ts'
import { formatReference, parseReference } from '../../oci/reference.ts'
import { atSpan, DockerfileError } from '../dockerfile/error.ts'
import { type Expansion, expand } from '../dockerfile/expand.ts'
import { goQuote } from '../dockerfile/go-quote.ts'
import type { FromInstruction } from '../dockerfile/instruction.ts'
import { findingAt } from '../dockerfile/lint-rule.ts'
import { didYouMean, nearest } from '../dockerfile/suggest.ts'
import type { PlanContext } from './plan-context.ts'
import { type StageNames, stageByName } from './stage-lookup.ts'
import type { BaseOrigin } from './step.ts'

interface Above {
  readonly names: StageNames
  readonly platforms: readonly Platform[]
}

interface ResolvedFrom {
  readonly base: BaseOrigin
  readonly platform: Platform
  readonly isReplaced: boolean
}

/** What a FROM stands for, given the stages above it. Throws DockerfileError at its span. */
export function resolveFrom(
  context: PlanContext,
  from: FromInstruction,
  above: Above,
): ResolvedFrom {
  return atSpan({ file: context.file, span: from.span }, () => {
    const name = expandName(context, from)
    const platform = expandPlatform(context, from) ?? context.options.targetPlatform
    const replaced = from.as === undefined ? undefined : namedContext(context, from.as, platform)
    if (replaced !== undefined) return { base: replaced, platform, isReplaced: true }
    const stage = stageByName(above.names, name)
    if (stage !== undefined) {
      const inherited = above.platforms[stage] ?? platform
      return { base: { kind: 'stage', stage }, platform: inherited, isReplaced: false }
    }
    const { targetPlatform } = context.options
    if (name === 'scratch') {
      return { base: { kind: 'scratch' }, platform: targetPlatform, isReplaced: false }
    }
    return { base: externalOrigin(context, name, platform), platform, isReplaced: false }
  })
}

/**
 * An image or named context. A reference that is malformed is kept as it is, for
 * {@link checkReference} to refuse should a stage that is built need it (F09).
 */
export function externalOrigin(context: PlanContext, name: string, platform: Platform): BaseOrigin {
  const named = namedContext(context, name, platform)
  return named ?? { kind: 'image', reference: fullReference(name) ?? name, platform }
}

/** Throws DockerfileError for a reference that names no image. */
export function checkReference(reference: string): void {
  try {
    parseReference(reference)
  } catch (cause) {
    if (!(cause instanceof OciError)) throw cause
    throw new DockerfileError(
      `failed to parse stage name ${goQuote(reference)}: invalid reference format${lowercaseHint(reference)}`,
      { cause },
    )
  }
}

function lowercaseHint(reference: string): string {
  return fullReference(reference.toLowerCase()) === undefined ||
    reference === reference.toLowerCase()
    ? ''
    : `: repository name (${reference}) must be lowercase`
}

/** Whether a text names an image. */
export function isReference(name: string): boolean {
  return fullReference(name) !== undefined
}

function fullReference(name: string): string | undefined {
  try {
    return formatReference(parseReference(name))
  } catch (error) {
    if (error instanceof OciError) return undefined
    throw error
  }
}

/** The named context that overrides `name`: under that name, or under the same image's (F11). */
export function namedContext(
  context: PlanContext,
  name: string,
  platform: Platform,
): BaseOrigin | undefined {
  const { namedContexts } = context.options
  if (name === 'scratch' || name === 'context') return undefined
  const qualified = `${name}::${formatPlatform(platform)}`
  const full = fullReference(name)
  for (const candidate of [qualified, name, name.toLowerCase()]) {
    if (namedContexts.has(candidate)) return { kind: 'named', name: candidate, platform }
  }
  const alias = [...namedContexts].find(
    known => full !== undefined && fullReference(known) === full,
  )
  return alias === undefined ? undefined : { kind: 'named', name: alias, platform }
}

function expandName(context: PlanContext, from: FromInstruction): string {
  const expansion = expandGlobal(context, from, from.image)
  if (expansion.text === '') {
    throw new DockerfileError(`base name (${from.image}) should not be blank`)
  }
  return expansion.text
}

function expandPlatform(context: PlanContext, from: FromInstruction): Platform | undefined {
  if (from.platform === undefined) return undefined
  const expansion = expandGlobal(context, from, from.platform)
  reportPlatform(context, from, expansion)
  const unset = [...expansion.unmatched]
  const known = [...context.globals.keys()]
  const suggestion = unset.map(name => didYouMean(name, known)).find(text => text !== '') ?? ''
  if (expansion.text === '') {
    throw new DockerfileError(`empty platform value from expression ${from.platform}${suggestion}`)
  }
  try {
    return parsePlatform(expansion.text)
  } catch (cause) {
    if (!(cause instanceof OciError)) throw cause
    throw new DockerfileError(
      `failed to parse platform ${from.platform}: ${cause.message}${suggestion}`,
      { cause },
    )
  }
}

function expandGlobal(context: PlanContext, from: FromInstruction, word: string): Expansion {
  const expansion = expand(word, name => context.globals.get(name), { escape: context.escape })
  for (const name of expansion.unmatched) {
    const known = [...declaredGlobals(context), ...context.globals.keys()]
    if (known.includes(name)) continue
    const match = nearest(name, known)
    const suggestion = match === undefined ? '' : ` (did you mean ${match}?)`
    const message = `FROM argument '${name}' is not declared${suggestion}`
    context.findings.push(findingAt(from, 'UndefinedArgInFrom', message))
  }
  return expansion
}

/** ARGs before the first FROM, those without a value included. */
function declaredGlobals({ dockerfile }: PlanContext): string[] {
  const firstFrom = dockerfile.instructions.findIndex(({ kind }) => kind === 'from')
  return dockerfile.instructions
    .slice(0, firstFrom)
    .flatMap(instruction => (instruction.kind === 'arg' ? instruction.args : []))
    .map(({ name }) => name)
}

function reportPlatform(context: PlanContext, from: FromInstruction, expansion: Expansion): void {
  const { matched, unmatched, text } = expansion
  if (matched.size === 0 && unmatched.size === 0) {
    reportConstantPlatform(context, from, text)
  } else if (matched.size === 1 && unmatched.size === 0 && matched.has('TARGETPLATFORM')) {
    if (text !== context.globals.get('TARGETPLATFORM')) return
    const message = `Setting platform to predefined ${from.platform} in FROM is redundant as this is the default behavior`
    context.findings.push(findingAt(from, 'RedundantTargetPlatform', message))
  }
}

/** A stage that is named after a platform may well be of that platform. */
function reportConstantPlatform(context: PlanContext, from: FromInstruction, text: string): void {
  let platform: Platform
  try {
    platform = parsePlatform(text)
  } catch (error) {
    if (error instanceof OciError) return
    throw error
  }
  const name = from.as ?? ''
  if (name.includes(platform.os) || name.includes(platform.architecture)) return
  const message = `FROM --platform flag should not use constant value ${goQuote(text)}`
  context.findings.push(findingAt(from, 'FromPlatformFlagConstDisallowed', message))
}
