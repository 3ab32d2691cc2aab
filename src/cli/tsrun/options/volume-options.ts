/** `--volume` as docker spells it: a directory of this machine, a volume, or one of the container's own. */
import { resolve } from 'node:path'
import type { VolumeWish } from '../../../layerfs/runtime/volume-use.ts'
import { assertVolumeName } from '../../../layerfs/runtime/volumes.ts'
import type { SandboxMount } from '../../../layerfs/sandbox/spec.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'

export interface Mounts {
  readonly mounts: readonly SandboxMount[]
  readonly volumes: readonly VolumeWish[]
}

type Refuse = (reason: string) => Error

/** `TARGET`, `NAME:TARGET[:OPTIONS]`, `SOURCE:TARGET[:OPTIONS]`. Throws a usage error that quotes it. */
export function parseVolume(text: string): SandboxMount | VolumeWish {
  const refuse = (reason: string) => usageError(`Cannot use volume "${printable(text)}": ${reason}`)
  const parts = text.split(':')
  if (parts.length > 3) throw refuse('expected [SOURCE:]TARGET[:OPTIONS]')
  const [source, target = '', options = ''] = parts.length === 1 ? [undefined, text] : parts
  if (!target.startsWith('/')) throw refuse('the target must be an absolute path')
  if (/^\/+$/.test(target)) throw refuse('the target cannot be the root')
  const words = optionsOf(options, refuse)
  const readOnly = words.includes('ro')
  if (source !== undefined && /^([/~]|\.\.?(\/|$))/.test(source)) {
    if (words.includes('nocopy')) throw refuse('only a volume gets a copy of what the image has')
    return { kind: 'bind', source: resolve(source), target, readOnly, recursive: true }
  }
  if (source !== undefined) assertVolumeName(source)
  return {
    ...(source === undefined ? {} : { name: source }),
    target,
    readOnly,
    copies: !words.includes('nocopy'),
  }
}

function optionsOf(options: string, refuse: Refuse): string[] {
  const words = options.split(',')
  const known = /^(|ro|rw|nocopy|z|Z|r?private|r?slave|r?shared)$/
  const unknown = words.find(option => !known.test(option))
  if (unknown !== undefined) throw refuse(`unknown option "${printable(unknown)}"`)
  return words
}

/** What lies in the container's own tree, and what outlives it. */
export function mountsOf(all: readonly (SandboxMount | VolumeWish)[]): Mounts {
  return {
    mounts: all.filter((one): one is SandboxMount => 'kind' in one),
    volumes: all.filter((one): one is VolumeWish => !('kind' in one)),
  }
}
