/**
 * The instructions that only change the config, and WORKDIR (I01–I14, V11).
 */
import { cleanPath, resolvePath } from '../dockerfile/clean-path.ts'
import { formatDuration } from '../dockerfile/duration.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { expandWords } from '../dockerfile/expand.ts'
import { goQuote, goQuoteList } from '../dockerfile/go-quote.ts'
import type {
  ArgDefinition,
  ArgInstruction,
  Command,
  CommandInstruction,
  CopyInstruction,
  FromInstruction,
  HealthcheckInstruction,
  Instruction,
  ListInstruction,
  PairsInstruction,
  RunInstruction,
  TextInstruction,
} from '../dockerfile/instruction.ts'
import { secretMessage } from '../dockerfile/lint-rule.ts'
import { silentArgs } from './build-args.ts'
import { parseExposedPort } from './expose.ts'
import {
  shellCommand,
  withCmd,
  withConfig,
  withEntrypoint,
  withEnv,
  withHealthcheck,
  withHistory,
  withLabel,
  withMember,
  withTrigger,
} from './image-config.ts'
import {
  expandIn,
  numberedName,
  report,
  type StageState,
  setVariable,
  shownText,
  spend,
} from './stage-state.ts'
import type { StageInstruction } from './step.ts'
import { checkStopSignal } from './stop-signal.ts'

type MetadataInstruction = Exclude<Instruction, RunInstruction | CopyInstruction | FromInstruction>

/** Applies the instruction to the state and adds its step; ONBUILD adds none. */
export function planMetadata(
  state: StageState,
  entry: StageInstruction,
  instruction: MetadataInstruction,
): void {
  if (instruction.kind === 'onbuild') {
    state.image = withTrigger(state.image, instruction.trigger)
    return
  }
  pushMetadata(state, entry, historyAfter(state, instruction))
}

/** Changes the state; the text is what history says of it. */
function historyAfter(
  state: StageState,
  instruction: Exclude<MetadataInstruction, { kind: 'onbuild' }>,
): string {
  switch (instruction.kind) {
    case 'arg':
      return applyArg(state, instruction)
    case 'env':
    case 'label':
      return applyPairs(state, instruction)
    case 'cmd':
    case 'entrypoint':
      return applyCommand(state, instruction)
    case 'workdir':
    case 'user':
    case 'stopsignal':
    case 'maintainer':
      return applyText(state, instruction)
    case 'expose':
    case 'volume':
    case 'shell':
      return applyList(state, instruction)
    case 'healthcheck':
      return applyHealthcheck(state, instruction)
  }
}

function pushMetadata(state: StageState, entry: StageInstruction, historyText: string): void {
  state.steps.push({
    kind: 'metadata',
    span: entry.span,
    displayName: entry.instruction.code.trim(),
    historyText,
    fromTrigger: entry.fromTrigger,
    comments: entry.instruction.comments,
  })
  state.image = withHistory(state.image, historyText, 'no layer')
}

/** Relative to the one before; a step with a layer, except for the root (I12). */
export function planWorkdir(
  state: StageState,
  entry: StageInstruction,
  instruction: TextInstruction,
): void {
  const path = expandIn(state, instruction, instruction.text)
  if (!state.hasWorkdir && !path.startsWith('/')) {
    report(state, instruction, {
      rule: 'WorkdirRelativePath',
      message: `Relative workdir ${goQuote(path)} can have unexpected results if the base image changes`,
    })
  }
  state.hasWorkdir = true
  const workdir = resolvePath(state.image.config.WorkingDir ?? '/', path)
  state.image = withConfig(state.image, { WorkingDir: workdir })
  const historyText = `WORKDIR ${workdir}`
  if (workdir === '/') {
    pushMetadata(state, entry, historyText)
    return
  }
  state.steps.push({
    kind: 'workdir',
    path: cleanPath(workdir),
    user: state.image.config.User ?? '',
    span: entry.span,
    displayName: numberedName(state, entry, shownText(state, instruction.code)),
    historyText,
    fromTrigger: entry.fromTrigger,
    comments: entry.instruction.comments,
  })
  state.image = withHistory(state.image, historyText, 'layer')
}

/** Pairs on one line of ARG see those before them (V11). */
function applyArg(state: StageState, instruction: ArgInstruction): string {
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

/** All pairs of one ENV are expanded with the values from before it (V11). */
function applyPairs(state: StageState, instruction: PairsInstruction): string {
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
      state.image = withLabel(state.image, key, value)
      continue
    }
    const secret = secretMessage('ENV', key)
    if (secret !== undefined) {
      report(state, instruction, { rule: 'SecretsUsedInArgOrEnv', message: secret })
    }
    setVariable(state, key, value)
    state.image = withEnv(state.image, key, value)
  }
  return [word, ...pairs.map(({ key, value }) => `${key}=${value}`)].join(' ')
}

function reportLegacyFormat(state: StageState, instruction: PairsInstruction): void {
  const { word } = instruction
  const message = `"${word} key=value" should be used instead of legacy "${word} key value" format`
  report(state, instruction, { rule: 'LegacyKeyValueFormat', message })
}

function applyCommand(state: StageState, instruction: CommandInstruction): string {
  const { kind, command } = instruction
  trackLast(state, kind, instruction)
  if (command.form === 'shell' && (state.image.config.Shell ?? []).length === 0) {
    report(state, instruction, {
      rule: 'JSONArgsRecommended',
      message: `JSON arguments recommended for ${instruction.word} to prevent unintended behavior related to OS signals`,
    })
  }
  const argv = commandArgv(state, command)
  state.image =
    kind === 'cmd'
      ? withCmd(state.image, argv)
      : withEntrypoint(state.image, argv, state.lastOf.has('cmd') ? 'own' : 'inherited')
  return `${kind.toUpperCase()} ${goQuoteList(argv)}`
}

function commandArgv(state: StageState, command: Command): readonly string[] {
  return command.form === 'exec' ? command.argv : shellCommand(state.image, command.script)
}

/** Only the last one counts; the one before it is told so (I03). */
function trackLast(
  state: StageState,
  kind: 'cmd' | 'entrypoint' | 'healthcheck',
  instruction: Instruction,
): void {
  const before = state.lastOf.get(kind)
  if (before !== undefined) {
    report(state, before, {
      rule: 'MultipleInstructionsDisallowed',
      message: `Multiple ${instruction.word} instructions should not be used in the same stage because only the last one will be used`,
    })
  }
  state.lastOf.set(kind, instruction)
}

function applyText(state: StageState, instruction: TextInstruction): string {
  const { kind, text } = instruction
  if (kind === 'maintainer') {
    state.image = { ...state.image, author: text }
    return `MAINTAINER ${text}`
  }
  const value = expandIn(state, instruction, text)
  if (kind === 'stopsignal') {
    checkStopSignal(value)
    state.image = withConfig(state.image, { StopSignal: value })
  } else {
    state.image = withConfig(state.image, { User: value })
  }
  return `${kind.toUpperCase()} ${value}`
}

function applyList(state: StageState, instruction: ListInstruction): string {
  const { kind, values } = instruction
  if (kind === 'shell') {
    state.image = withConfig(state.image, { Shell: values })
    return `SHELL [${values.join(' ')}]`
  }
  if (kind === 'expose') return applyExpose(state, instruction)
  const volumes = values.map(value => expandIn(state, instruction, value))
  if (volumes.includes('')) throw new DockerfileError('VOLUME specified can not be an empty string')
  state.image = withMember(state.image, 'Volumes', volumes)
  return `VOLUME [${volumes.join(' ')}]`
}

/** Characters of a port in history, about: `65535/tcp`. */
const portLength = 10

/** A variable may hold several ports: its value is split into words (V09). */
function applyExpose(state: StageState, instruction: ListInstruction): string {
  const { dockerfile } = state.plan
  const words = instruction.values.flatMap(word =>
    expandWords(word, name => state.variables.get(name), { escape: dockerfile.escape }),
  )
  const ports = words.flatMap(word => {
    const exposed = parseExposedPort(word)
    spend(state, exposed.ports.length * portLength)
    if (exposed.hasUpperCaseProtocol) {
      const message = `Defined protocol '${word}' in EXPOSE instruction should be lowercase`
      report(state, instruction, { rule: 'ExposeProtoCasing', message })
    }
    if (exposed.hasHostPart) {
      const message = `EXPOSE instruction should not define an IP address or host-port mapping, found '${word}'`
      report(state, instruction, { rule: 'ExposeInvalidFormat', message })
    }
    return exposed.ports
  })
  state.image = withMember(state.image, 'ExposedPorts', ports)
  return `EXPOSE [${ports.join(' ')}]`
}

function applyHealthcheck(state: StageState, instruction: HealthcheckInstruction): string {
  trackLast(state, 'healthcheck', instruction)
  const { test, interval, timeout, startPeriod, startInterval, retries } = instruction
  state.image = withHealthcheck(state.image, {
    Test: test,
    Interval: interval,
    Timeout: timeout,
    StartPeriod: startPeriod,
    StartInterval: startInterval,
    Retries: retries,
  })
  const times = [
    `Interval:${formatDuration(interval)}`,
    `Timeout:${formatDuration(timeout)}`,
    `StartPeriod:${formatDuration(startPeriod)}`,
    `StartInterval:${formatDuration(startInterval)}`,
  ]
  return `HEALTHCHECK {Test:[${test.join(' ')}] ${times.join(' ')} Retries:${retries}}`
}
