/** Devices of the host, as a container is to have them. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import type { DeviceRule } from './device-rules.ts'
import type { SandboxDevice } from './spec.ts'

/** Throws `not-found` when there is nothing at `source`, `invalid` when it is no device. */
export function deviceRuleOf({ source, access }: SandboxDevice): DeviceRule {
  const status = statusOf(source)
  if (!status.isCharacterDevice() && !status.isBlockDevice()) {
    throw new OciError('invalid', `Cannot add device "${printable(source)}": it is none`)
  }
  return {
    type: status.isBlockDevice() ? 'block' : 'character',
    ...numbersOf(status.rdev),
    access,
  }
}

/** As makedev(3) of Linux packs them. */
export function numbersOf(device: bigint): { readonly major: number; readonly minor: number } {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  return { major: Number(major), minor: Number(minor) }
}

function statusOf(source: string) {
  try {
    return statSync(source, { bigint: true })
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    throw new OciError('not-found', `Cannot add device "${printable(source)}": it is not there`)
  }
}

/** The device, or all devices in the directory and below. Throws as {@link deviceRuleOf}. */
export function expandDevice(device: SandboxDevice): SandboxDevice[] {
  if (!statusOf(device.source).isDirectory()) return [device]
  return devicesIn(device.source).map(path => ({
    ...device,
    source: join(device.source, path),
    target: join(device.target, path),
  }))
}

/** What a container has of its own, with nothing of the host in it. */
const ownDirectories = new Set(['pts', 'shm', 'mqueue', 'fd', 'console', 'ptmx'])

/** All of the host, where `--privileged` shows them. */
export function hostDevices(): SandboxDevice[] {
  return devicesIn('/dev')
    .filter(path => !ownDirectories.has(path.split('/', 1)[0] ?? ''))
    .map(path => ({ source: `/dev/${path}`, target: `/dev/${path}`, access: 'rwm' }))
}

/** Relative paths. Links are left out: what they lead to is there under its own name. */
function devicesIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap(entry => {
    if (entry.isDirectory()) {
      return devicesIn(join(directory, entry.name)).map(path => join(entry.name, path))
    }
    return entry.isCharacterDevice() || entry.isBlockDevice() ? [entry.name] : []
  })
}
