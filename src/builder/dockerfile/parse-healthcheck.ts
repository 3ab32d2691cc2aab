/**
 * HEALTHCHECK (I05).
 */
import { formatDuration, parseDuration } from './duration.ts'
import { DockerfileError } from './error.ts'
import { parseFlags } from './flags.ts'
import { goQuote } from './go-quote.ts'
import type { HealthcheckInstruction } from './instruction.ts'
import type { Common, Node } from './node.ts'

/** Shorter intervals cannot be kept by the engines that read them. */
const minInterval = 1_000_000

export function parseHealthcheck(node: Node, common: Common): HealthcheckInstruction {
  if (node.args.form !== 'typed') {
    throw new DockerfileError('HEALTHCHECK requires at least one argument')
  }
  const base = { kind: 'healthcheck', ...common } as const
  if (node.args.type.toUpperCase() === 'NONE') {
    if (argumentsOf(node).length > 0) {
      throw new DockerfileError('HEALTHCHECK NONE takes no arguments')
    }
    return { ...base, test: ['NONE'], ...noTimes, retries: 0 }
  }
  const flags = parseFlags('healthcheck', node.flags)
  return {
    ...base,
    test: parseTest(node, node.args.type.toUpperCase()),
    interval: parseInterval('interval', flags.text('interval')),
    timeout: parseInterval('timeout', flags.text('timeout')),
    startPeriod: parseInterval('start-period', flags.text('start-period')),
    startInterval: parseInterval('start-interval', flags.text('start-interval')),
    retries: parseRetries(flags.text('retries')),
  }
}

const noTimes = { interval: 0, timeout: 0, startPeriod: 0, startInterval: 0 } as const

function argumentsOf(node: Node): readonly string[] {
  if (node.args.form !== 'typed') return []
  return 'values' in node.args.rest ? node.args.rest.values : []
}

function parseTest(node: Node, type: string): readonly string[] {
  if (type !== 'CMD') {
    throw new DockerfileError(`Unknown type ${goQuote(type)} in HEALTHCHECK (try CMD)`)
  }
  const command = argumentsOf(node)
  if (command.length === 0) throw new DockerfileError('Missing command after HEALTHCHECK CMD')
  const isExec = node.args.form === 'typed' && node.args.rest.form === 'json'
  return [isExec ? 'CMD' : 'CMD-SHELL', ...command]
}

function parseInterval(name: string, text: string | undefined): number {
  if (text === undefined || text === '') return 0
  const interval = parseDuration(text)
  if (interval !== 0 && interval < minInterval) {
    throw new DockerfileError(
      `Interval ${goQuote(name)} cannot be less than ${formatDuration(minInterval)}`,
    )
  }
  return interval
}

function parseRetries(text: string | undefined): number {
  if (text === undefined || text === '') return 0
  const retries = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(retries)) {
    throw new DockerfileError(`strconv.ParseInt: parsing ${goQuote(text)}: invalid syntax`)
  }
  if (Math.abs(retries) > 0x7fffffff) {
    throw new DockerfileError(`strconv.ParseInt: parsing ${goQuote(text)}: value out of range`)
  }
  if (retries < 0) throw new DockerfileError(`--retries cannot be negative (${retries})`)
  return retries
}
