/** What `tsregistry copy --from` names: a storage of ours, or one of CNCF Distribution. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { OciError } from '../../oci/errors.ts'
import { type CopySource, registrySource } from '../../registry/storage/copy/copy-source.ts'
import {
  distributionRoot,
  distributionSource,
  holdsDistribution,
} from '../../registry/storage/copy/distribution-source.ts'
import { folderReader } from '../../registry/storage/copy/folder-reader.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import { openS3Reader } from '../../registry/storage/s3/open-s3.ts'
import { describeS3 } from '../../registry/storage/s3/s3-options.ts'
import type { Environment } from '../environment.ts'
import { openExistingStorage, parseStoragePlace, type StoragePlace } from './storage-place.ts'

export interface CopyPlace {
  readonly layout: 'ours' | 'distribution'
  readonly place: StoragePlace
}

export interface OpenCopySource extends AsyncDisposable {
  readonly source: CopySource
}

const distribution = 'distribution:'

/** Throws a usage error that begins with `what`. */
export function parseCopyPlace(what: string, text: string, environment: Environment): CopyPlace {
  if (!text.startsWith(distribution)) {
    return { layout: 'ours', place: parseStoragePlace(what, text, environment) }
  }
  const inner = text.slice(distribution.length)
  const named = inner.startsWith('s3:') ? inner : `filesystem:${inner}`
  return { layout: 'distribution', place: parseStoragePlace(what, named, environment) }
}

/** Whether both are one folder: there is nothing to copy then. */
export function isSameFolder({ layout, place }: CopyPlace, to: StoragePlace): boolean {
  if (layout !== 'ours' || place.kind !== 'filesystem' || to.kind !== 'filesystem') return false
  return resolve(place.root) === resolve(to.root)
}

/** Throws `not-found` where the place holds no registry, or nothing of distribution's. */
export async function openCopySource({ layout, place }: CopyPlace): Promise<OpenCopySource> {
  if (layout === 'ours') {
    const store = await openExistingStorage(place)
    const source = registrySource(createRegistryStorage(store.objects))
    return { source, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
  }
  const store = await openReader(place)
  if (!(await holdsDistribution(store.objects))) {
    await store[Symbol.asyncDispose]()
    throw new OciError(
      'not-found',
      `Cannot copy from "${store.name}": expected "${distributionRoot}" in it`,
      { hint: 'Name the rootdirectory of its config.yml, such as /var/lib/registry' },
    )
  }
  const source = distributionSource(store.objects)
  return { source, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

async function openReader(place: StoragePlace) {
  if (place.kind === 's3') {
    const { objects, ...store } = await openS3Reader(place.options)
    const name = describeS3(place.options)
    return { objects, name, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
  }
  const { root } = place
  return { objects: folderReader(root), name: root, [Symbol.asyncDispose]: async () => {} }
}

/**
 * Throws `invalid` for a folder in which distribution stored and we never did: whoever changes from
 * one to the other must not find an empty registry.
 */
export function mustNotBeDistributions(place: StoragePlace): void {
  if (place.kind !== 'filesystem') return
  const { root } = place
  if (existsSync(join(root, 'objects')) || !existsSync(join(root, distributionRoot))) return
  throw new OciError(
    'invalid',
    `Cannot serve "${root}": distribution stored in it, in its own way`,
    {
      hint: `Bring it over, into another folder or beside it: tsregistry copy --from distribution:${root} --to filesystem:${root}`,
    },
  )
}
