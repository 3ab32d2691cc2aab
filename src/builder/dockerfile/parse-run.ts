/**
 * RUN: its command, the heredocs behind it, and what its flags ask for (R04–R08).
 */
import { csvFields } from './csv.ts'
import { parseBoolean } from './directive.ts'
import { DockerfileError, prefixed } from './error.ts'
import { parseFlags } from './flags.ts'
import { goQuote } from './go-quote.ts'
import type { Command, RunInstruction } from './instruction.ts'
import { parseMountFlag } from './mount.ts'
import type { Common, Node } from './node.ts'
import { didYouMean } from './suggest.ts'

const networks = ['default', 'none', 'host'] as const
const securities = ['sandbox', 'insecure'] as const

export function parseRun(node: Node, common: Common): RunInstruction {
  const flags = parseFlags('run', node.flags)
  const devices = flags.list('device').map(parseDevice)
  const mounts = flags.list('mount').map(parseMountFlag)
  const network = flags.text('network') ?? 'default'
  const security = flags.text('security') ?? 'sandbox'
  return {
    kind: 'run',
    ...common,
    command: commandOf(node),
    heredocs: node.heredocs,
    mounts,
    devices,
    network:
      networks.find(mode => mode === network) ?? refuse(`invalid network mode ${goQuote(network)}`),
    security:
      securities.find(mode => mode === security) ??
      refuse(`security ${goQuote(security)} is not valid`),
  }
}

/** Exec form when the arguments were JSON, else everything for the shell. */
export function commandOf(node: Node): Command {
  if (node.args.form === 'json') return { form: 'exec', argv: node.args.values }
  const [script = ''] = node.args.form === 'text' ? node.args.values : []
  return { form: 'shell', script }
}

interface Device {
  readonly name: string
  readonly required: boolean
}

/** `vendor.com/device=name[,required]` (R06). */
function parseDevice(text: string): Device {
  return deviceFields(text).reduce<Device>(addDeviceField, { name: '', required: false })
}

function addDeviceField(device: Device, field: string): Device {
  const equals = field.indexOf('=')
  const key = (equals === -1 ? field : field.slice(0, equals)).toLowerCase()
  const value = equals === -1 ? undefined : field.slice(equals + 1)
  if (key === 'required') return { ...device, required: requiredOf(value) }
  if (key === 'name' && value !== undefined) {
    if (device.name !== '') refuse(`device name already set to ${device.name}`)
    return { ...device, name: value }
  }
  if (device.name === '') return { ...device, name: field }
  return refuseDeviceField(field, key, value)
}

function requiredOf(value: string | undefined): boolean {
  if (value === undefined) return true
  return parseBoolean(value) ?? refuse(`invalid value for required: ${value}`)
}

function refuseDeviceField(field: string, key: string, value: string | undefined): never {
  if (value === undefined) refuse(`invalid field '${field}' must be a key=value pair`)
  return refuse(`unexpected key '${key}' in '${field}'${didYouMean(key, ['name', 'required'])}`)
}

function deviceFields(text: string): string[] {
  try {
    return csvFields(text)
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error
    throw prefixed('failed to parse csv devices: ', error)
  }
}

function refuse(message: string): never {
  throw new DockerfileError(message)
}
