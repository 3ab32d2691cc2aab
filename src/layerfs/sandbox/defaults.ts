/**
 * What a container gets when nobody says otherwise: Docker's defaults, as tables.
 */
import { readdirSync } from 'node:fs'
import { OciError, printable } from '../../oci/errors.ts'
import type { Security } from './spec.ts'

export const dockerCapabilities: readonly string[] = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]

/** All that Linux has; a name's place is its number. */
export const allCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
]

/** Throws `invalid`, quoting the name. */
export function capabilityNumber(name: string): number {
  const number = allCapabilities.indexOf(name)
  if (number !== -1) return number
  throw new OciError(
    'invalid',
    `Cannot grant capability "${printable(name)}": Linux has none of that name`,
  )
}

export const defaultSecurity: Security = {
  capabilities: dockerCapabilities,
  seccomp: 'default',
  noNewPrivileges: false,
  paths: 'default',
}

/** Nothing between the program and the kernel but the namespaces: `RUN --security=insecure`. */
export const insecureSecurity: Security = {
  capabilities: allCapabilities,
  seccomp: 'unconfined',
  noNewPrivileges: false,
  devices: 'all',
  paths: 'unmasked',
}

export const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Bytes of /dev/shm. */
export const defaultShmSize = 64 * 1024 * 1024

export const readOnlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
]

const maskedEverywhere: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

const cpuDirectory = '/sys/devices/system/cpu'

let knownMaskedPaths: readonly string[] | undefined

/** Those of Docker; the throttle counters stand once per CPU of this machine. */
export function maskedPaths(): readonly string[] {
  knownMaskedPaths ??= findMaskedPaths()
  return knownMaskedPaths
}

function findMaskedPaths(): string[] {
  const cpus = readdirSync(cpuDirectory).filter(name => /^cpu\d+$/.test(name))
  return [...maskedEverywhere, ...cpus.map(cpu => `${cpuDirectory}/${cpu}/thermal_throttle`)]
}

/** Without privileges: listen on any port, send ICMP echo. Only in a network of its own. */
export const networkSysctls: readonly (readonly [path: string, value: string])[] = [
  ['sys/net/ipv4/ip_unprivileged_port_start', '0'],
  ['sys/net/ipv4/ping_group_range', '0 2147483647'],
]

/** The network that `bridge` joins. See native/bridge.h. */
export const defaultBridge = {
  name: 'tsrun0',
  subnet: '10.213.0.0/16',
  lockDirectory: '/run/tsbuild/bridge',
}
