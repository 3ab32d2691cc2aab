/** What a container gets of the machine: limits, devices, kernel parameters. */
import { posix } from 'node:path'
import type { ContainerExtras, ContainerOptions } from '../../../layerfs/runtime/container-spec.ts'
import { checkSysctl } from '../../../layerfs/runtime/namespaced-sysctls.ts'
import { deviceRuleOf, expandDevice, hostDevices } from '../../../layerfs/sandbox/devices.ts'
import { resourceNumber } from '../../../layerfs/sandbox/resource-limits.ts'
import type { IoRate, ResourceLimit, SandboxDevice } from '../../../layerfs/sandbox/spec.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs, parseInteger, parseSize } from '../../flags/flag-values.ts'
import { networkMode } from './namespace-options.ts'
import type { RunFlags } from './run-flags.ts'

type LimitFlag =
  | 'memory'
  | 'memory-swap'
  | 'memory-reservation'
  | 'cpus'
  | 'cpu-shares'
  | 'cpuset-cpus'
  | 'cpu-quota'
  | 'cpu-period'
  | 'pids-limit'

/** The flags of a command that starts something, as far as it has them. */
export type LimitFlags = { readonly [Name in LimitFlag]?: RunFlags[Name] }

/** Throws a usage error that names the flag. */
export function limitOptions(flags: LimitFlags): ContainerOptions['limits'] {
  checkLimits(flags)
  const cpus = cpuTime(flags)
  const { memory, 'pids-limit': pids, 'memory-reservation': memoryReservation } = flags
  const { 'cpu-shares': cpuShares, 'cpuset-cpus': cpuset } = flags
  return {
    ...(memory ? { memory } : {}),
    ...memorySwapOption(flags),
    ...(memoryReservation ? { memoryReservation } : {}),
    ...(cpus ? { cpus } : {}),
    ...(cpuShares ? { cpuShares } : {}),
    ...(cpuset === undefined ? {} : { cpuset }),
    ...(pids !== undefined && pids > 0 ? { pids } : {}),
  }
}

/** In CPUs, of which docker takes one form or the other. */
function cpuTime(flags: LimitFlags): number | undefined {
  const { cpus, 'cpu-quota': quota = 0, 'cpu-period': period = 100_000 } = flags
  if (quota < 0 || period <= 0) {
    throw usageError('Cannot use flags --cpu-quota and --cpu-period: expected positive numbers')
  }
  if (cpus && quota !== 0) throw usageError('Cannot use flags --cpus and --cpu-quota together')
  return quota === 0 ? cpus : quota / period
}

function checkLimits(flags: LimitFlags): void {
  const { memory = 0, cpus = 0, 'memory-reservation': reservation = 0 } = flags
  const { 'cpu-shares': shares = 0, 'cpuset-cpus': cpuset = '0' } = flags
  const refuse = (flag: string, why: string) => usageError(`Cannot use flag --${flag}: ${why}`)
  if (memory !== 0 && memory < 6 * 1024 * 1024) throw refuse('memory', 'the least is 6m')
  if (memory !== 0 && reservation > memory) throw refuse('memory-reservation', 'more than --memory')
  if (cpus < 0) throw refuse('cpus', 'less than none')
  if (shares < 0) throw refuse('cpu-shares', 'less than none')
  if (!/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(cpuset)) {
    throw refuse('cpuset-cpus', `expected a list like 0-2,4, not "${printable(cpuset)}"`)
  }
}

/** Throws a usage error that names the flag, and what {@link deviceRuleOf} throws. */
export function ioOptions(
  flags: Pick<RunFlags, 'blkio-weight' | `device-${IoRate['kind']}`>,
): Pick<ContainerOptions['limits'], 'ioWeight' | 'ioRates'> {
  const weight = flags['blkio-weight'] ?? 0
  if (weight !== 0 && (weight < 10 || weight > 1000)) {
    throw usageError('Cannot use flag --blkio-weight: expected a number from 10 to 1000')
  }
  const rates = ioKinds.flatMap(kind => flags[`device-${kind}`].map(text => parseRate(kind, text)))
  return {
    ...(weight === 0 ? {} : { ioWeight: weight }),
    ...(rates.length === 0 ? {} : { ioRates: rates }),
  }
}

const ioKinds = ['read-bps', 'write-bps', 'read-iops', 'write-iops'] as const

/** `/dev/sda:10m`. */
function parseRate(kind: IoRate['kind'], text: string): IoRate {
  const subject = `flag --device-${kind}`
  const [, disk = '', value = ''] = /^(\/[^:]+):([^:]+)$/.exec(text) ?? []
  if (disk === '') {
    throw usageError(`Cannot use ${subject}: expected DISK:RATE, found "${printable(text)}"`)
  }
  const rate = parseAs(subject, () =>
    kind.endsWith('bps') ? parseSize(value) : parseInteger(value),
  )
  if (rate <= 0) throw usageError(`Cannot use ${subject}: the rate is more than 0`)
  const { type, major = 0, minor = 0 } = deviceRuleOf({ source: disk, target: disk, access: 'r' })
  if (type === 'block') return { kind, major, minor, rate }
  throw usageError(`Cannot use ${subject}: "${printable(disk)}" is no disk`)
}

/** As docker: 0 is as if it was not there. */
function memorySwapOption({
  memory,
  'memory-swap': text,
}: LimitFlags): Pick<ContainerOptions['limits'], 'memorySwap'> {
  if (text === undefined) return {}
  const swap = text === '-1' ? 'unlimited' : parseAs('flag --memory-swap', () => parseSize(text))
  if (swap === 0) return {}
  if (!memory) throw usageError('Cannot use flag --memory-swap: it takes --memory, too')
  if (swap !== 'unlimited' && swap < memory) {
    throw usageError('Cannot use flag --memory-swap: less than --memory, which it includes')
  }
  return { memorySwap: swap }
}

/** Throws a usage error that quotes the value, and what `expandDevice` throws. */
export function resourceOptions(
  flags: RunFlags,
): Pick<ContainerExtras, 'devices' | 'resourceLimits' | 'sysctls' | 'oomScoreAdjustment'> {
  const score = flags['oom-score-adj']
  if (score !== undefined && Math.abs(score) > 1000) {
    throw usageError('Cannot use flag --oom-score-adj: expected a number from -1000 to 1000')
  }
  return {
    devices: [
      ...(flags.privileged ? hostDevices() : []),
      ...flags.device.map(parseDevice).flatMap(expandDevice),
    ],
    resourceLimits: flags.ulimit.map(parseUlimit),
    sysctls: flags.sysctl.map(text => parseSysctl(text, flags)),
    ...(score === undefined ? {} : { oomScoreAdjustment: score }),
  }
}

/** `/dev/a`, `/dev/a:/dev/b`, `/dev/a:r`, `/dev/a:/dev/b:rw`. */
export function parseDevice(text: string): SandboxDevice {
  const [source = '', second, third, ...rest] = text.split(':')
  const refuse = (reason: string) => usageError(`Cannot use device "${printable(text)}": ${reason}`)
  const isAccess = third === undefined && second !== undefined && !second.startsWith('/')
  const target = isAccess || second === undefined ? source : second
  const access = (isAccess ? second : third) ?? 'rwm'
  if (rest.length > 0) throw refuse('expected SOURCE[:TARGET[:rwm]]')
  if (!source.startsWith('/')) throw refuse('the source must be an absolute path')
  if (!/^(?!.*(.).*\1)[rwm]+$/.test(access)) throw refuse('the access is some of r, w and m')
  const place = posix.normalize(target)
  if (!place.startsWith('/dev/') || place === '/dev/') throw refuse('the target must be below /dev')
  return { source, target: place.replace(/\/$/, ''), access }
}

/** `nofile=1024`, `nofile=1024:4096`; -1 and `unlimited` are the same. */
export function parseUlimit(text: string): ResourceLimit {
  const [name = '', values = ''] = text.split(/=(.*)/s)
  const subject = `ulimit "${printable(text)}"`
  const [softText = '', hardText = softText, ...rest] = values.split(':')
  if (values === '' || rest.length > 0) {
    throw usageError(`Cannot use ${subject}: expected NAME=SOFT[:HARD]`)
  }
  return parseAs(subject, () => {
    resourceNumber(name)
    const [soft, hard] = [parseLimit(softText), parseLimit(hardText)]
    const limit = hard === 'unlimited' ? Number.POSITIVE_INFINITY : hard
    if ((soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft) > limit) {
      throw usageError(`Cannot use ${subject}: the soft limit is above the hard one`)
    }
    return { name, soft, hard }
  })
}

function parseLimit(text: string): number | 'unlimited' {
  if (text === '-1' || text === 'unlimited') return 'unlimited'
  const value = parseInteger(text)
  if (value < 0) throw usageError(`a limit cannot be ${value}`)
  return value
}

function parseSysctl(text: string, flags: RunFlags): readonly [string, string] {
  const [name = '', value] = text.split(/=(.*)/s)
  if (value === undefined) {
    throw usageError(`Cannot use sysctl "${printable(text)}": expected NAME=VALUE`)
  }
  return parseAs(`sysctl "${printable(text)}"`, () => {
    const { ipc } = flags
    checkSysctl(name, {
      network: networkMode(flags),
      ipc: ipc === 'host' ? 'host' : ipc.startsWith('container:') ? 'container' : 'private',
    })
    return [name, value] as const
  })
}
