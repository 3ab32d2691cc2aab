/**
 * ARG, ENV and LABEL: the instructions that give names to values (A01–A05, V11, I10, I13).
 */
import type { ArgDefinition, ArgInstruction, PairsInstruction } from '../dockerfile/instruction.ts'
import { secretMessage } from '../dockerfile/lint-rule.ts'
import { silentArgs } from './build-args.ts'
import { setEnv } from './image-config.ts'
import { expandIn, report, type StageState, setVariable } from './stage-state.ts'

/** Pairs on one line of ARG see those before them (V11); what history says of it. */
export function applyArg(state: StageState, instruction: ArgInstruction): string {
  const shown = instruction.args.map(definition => {
    const secret = secretMessage('ARG', definition.name)
    if (secret !== undefined) {
      report(state, instruction, { rule: 'SecretsUsedInArgOrEnv', message: secret })
    }
    const value = argValue(state, instruction, definition)
    const { name } = definition
    if (value !== undefined && !silentArgs.has(name)) setVariable(state, name, value)
    state.args.push(value === undefined ? { name } : { name, value })
    return value === undefined ? name : `${name}=${value}`
  })
  return `ARG ${shown.join(' ')}`
}

/** `--build-arg`, then the default, then the global value (A02). */
function argValue(
  state: StageState,
  instruction: ArgInstruction,
  { name, value }: ArgDefinition,
): string | undefined {
  const given = state.plan.options.buildArgs.get(name)
  if (given !== undefined) return given
  if (value !== undefined) return expandIn(state, instruction, value)
  return state.plan.globals.get(name)
}

/** All pairs of one ENV or LABEL are expanded with the values from before it (V11). */
export function applyPairs(state: StageState, instruction: PairsInstruction): string {
  const word = instruction.kind.toUpperCase()
  for (const { legacy } of instruction.pairs) {
    if (legacy) reportLegacyFormat(state, instruction)
  }
  const pairs = instruction.pairs.map(({ key, value }) => ({
    key: expandIn(state, instruction, key),
    value: expandIn(state, instruction, value),
  }))
  for (const { key, value } of pairs) {
    if (instruction.kind === 'label') {
      state.image.labels.set(key, value)
      continue
    }
    const secret = secretMessage('ENV', key)
    if (secret !== undefined) {
      report(state, instruction, { rule: 'SecretsUsedInArgOrEnv', message: secret })
    }
    setVariable(state, key, value)
    setEnv(state.image, key, value)
  }
  return [word, ...pairs.map(({ key, value }) => `${key}=${value}`)].join(' ')
}

function reportLegacyFormat(state: StageState, instruction: PairsInstruction): void {
  const { word } = instruction
  const message = `"${word} key=value" should be used instead of legacy "${word} key value" format`
  report(state, instruction, { rule: 'LegacyKeyValueFormat', message })
}
