/**
 * The instructions that only change the config, and WORKDIR (I01–I14, V11).
 */
import { cleanPath, resolvePath } from '../dockerfile/clean-path.ts'
import { formatDuration } from '../dockerfile/duration.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { expandWords } from '../dockerfile/expand.ts'
import { goQuote, goQuoteList } from '../dockerfile/go-quote.ts'
import type {
  Command,
  CommandInstruction,
  CopyInstruction,
  FromInstruction,
  HealthcheckInstruction,
  Instruction,
  ListInstruction,
  RunInstruction,
  TextInstruction,
} from '../dockerfile/instruction.ts'
import { parseExposedPort } from './expose.ts'
import {
  addHistory,
  setCmd,
  setConfig,
  setEntrypoint,
  setHealthcheck,
  setUser,
  shellCommand,
} from './image-config.ts'
import { applyArg, applyPairs } from './plan-variables.ts'
import {
  expandIn,
  numberedName,
  ofInstruction,
  report,
  type StageState,
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
    state.image.triggers.push(instruction.trigger)
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
    ...ofInstruction(entry, { displayName: entry.instruction.code.trim(), historyText }),
  })
  addHistory(state.image, historyText, 'no layer')
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
  // As BuildKit: an absolute one is kept as it is written.
  const workdir = path.startsWith('/')
    ? path
    : resolvePath(state.image.config.WorkingDir ?? '/', path)
  setConfig(state.image, { WorkingDir: workdir })
  const historyText = `WORKDIR ${workdir}`
  if (workdir === '/') {
    pushMetadata(state, entry, historyText)
    return
  }
  const displayName = numberedName(state, entry, shownText(state, instruction.code))
  state.steps.push({
    kind: 'workdir',
    path: cleanPath(workdir),
    user: state.image.config.User ?? '',
    ...ofInstruction(entry, { displayName, historyText }),
  })
  addHistory(state.image, historyText, 'layer')
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
  if (kind === 'cmd') setCmd(state.image, argv)
  else setEntrypoint(state.image, argv, state.lastOf.has('cmd') ? 'own' : 'inherited')
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
    state.image.author = text
    return `MAINTAINER ${text}`
  }
  const value = expandIn(state, instruction, text)
  if (kind === 'stopsignal') {
    checkStopSignal(value)
    setConfig(state.image, { StopSignal: value })
  } else {
    setUser(state.image, value)
  }
  return `${kind.toUpperCase()} ${value}`
}

function applyList(state: StageState, instruction: ListInstruction): string {
  const { kind, values } = instruction
  if (kind === 'shell') {
    setConfig(state.image, { Shell: values })
    return `SHELL [${values.join(' ')}]`
  }
  if (kind === 'expose') return applyExpose(state, instruction)
  const volumes = values.map(value => expandIn(state, instruction, value))
  if (volumes.includes('')) throw new DockerfileError('VOLUME specified can not be an empty string')
  for (const volume of volumes) state.image.volumes.add(volume)
  return `VOLUME [${volumes.join(' ')}]`
}

/** What a port takes in history, config and memory, about: a range of a few characters is 65,536. */
const portLength = 100

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
  for (const port of ports) state.image.ports.add(port)
  return `EXPOSE [${ports.join(' ')}]`
}

function applyHealthcheck(state: StageState, instruction: HealthcheckInstruction): string {
  trackLast(state, 'healthcheck', instruction)
  const { test, interval, timeout, startPeriod, startInterval, retries } = instruction
  setHealthcheck(state.image, {
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
