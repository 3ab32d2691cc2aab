/** `--volumes-from NAME[:ro|rw]`: what other containers have from outside, as docker takes it over. */
import {
  type Container,
  findContainer,
  listContainers,
} from '../../../layerfs/runtime/container-list.ts'
import type { ContainerOptions } from '../../../layerfs/runtime/container-spec.ts'
import { savedMounts } from '../../../layerfs/runtime/saved-spec.ts'
import type { VolumeWish } from '../../../layerfs/runtime/volume-use.ts'
import { plainTarget } from '../../../layerfs/runtime/volumes.ts'
import type { SandboxMount } from '../../../layerfs/sandbox/spec.ts'
import type { Store } from '../../../layerfs/store.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { mountsOf } from './volume-options.ts'

/**
 * With the volumes and directories of this machine that the named containers have; of two at one
 * place the later one, and before both what the user asks for there. Throws `not-found`, and a
 * usage error that quotes the word.
 */
export async function withVolumesFrom(
  options: ContainerOptions,
  words: readonly string[],
  store: Store,
): Promise<ContainerOptions> {
  if (words.length === 0) return options
  const all = await listContainers(store.containers)
  const found = new Map<string, SandboxMount | VolumeWish>()
  for (const one of words.flatMap(word => mountsNamed(word, all))) {
    found.set(plainTarget(one.target), one)
  }
  for (const { target } of [...options.mounts, ...options.volumes]) {
    found.delete(plainTarget(target))
  }
  const { mounts, volumes } = mountsOf([...found.values()])
  return {
    ...options,
    mounts: [...mounts, ...options.mounts],
    volumes: [...volumes, ...options.volumes],
  }
}

function mountsNamed(word: string, all: readonly Container[]): (SandboxMount | VolumeWish)[] {
  const refuse = (reason: string, hint?: string) =>
    usageError(`Cannot use the volumes of "${printable(word)}": ${reason}`, hint)
  const [, name = '', mode = 'rw'] = /^([^:]+)(?::(ro|rw|z|Z))?$/.exec(word) ?? []
  if (name === '') throw refuse('expected NAME[:ro|rw]')
  const { path, record } = findContainer(all, name)
  const volumes = record?.volumes ?? []
  if (record?.lifetime === 'removed-at-end' && volumes.some(({ isAnonymous }) => isAnonymous)) {
    throw refuse(
      'one without a name goes with its container',
      'Give it a name there, with --volume',
    )
  }
  const isVolume = ({ target }: SandboxMount) => volumes.some(volume => volume.target === target)
  const readOnly = mode === 'ro'
  return [
    // What the image has there is in it already.
    ...volumes.map(({ isAnonymous: _, ...wish }) => ({ ...wish, copies: false })),
    ...savedMounts(path).filter(mount => isBind(mount) && !isVolume(mount)),
  ].map(one => (readOnly ? { ...one, readOnly } : one))
}

/** Not the memory of --ipc host, which goes with that flag. */
function isBind({ kind, target }: SandboxMount): boolean {
  return kind === 'bind' && target !== '/dev/shm'
}
