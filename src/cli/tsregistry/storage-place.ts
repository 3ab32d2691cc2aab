/** Where the registry stores, as every command of it finds and opens it: a folder, or a bucket. */
import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { systemReason } from '../../oci/system-error.ts'
import { openFileObjectStore } from '../../registry/storage/filesystem/file-object-store.ts'
import type { ObjectStore } from '../../registry/storage/object-store.ts'
import { openS3ObjectStore } from '../../registry/storage/s3/open-s3.ts'
import type { Findings } from '../../registry/storage/s3/probe.ts'
import {
  describeS3,
  namesRole,
  parseS3Address,
  type S3Defaults,
  type S3Options,
} from '../../registry/storage/s3/s3-options.ts'
import { authoritiesFrom } from '../authorities.ts'
import { usageError } from '../cli-error.ts'
import type { Environment } from '../environment.ts'
import { parseAs } from '../flags/flag-values.ts'

export const storageFlags = {
  root: {
    kind: 'string',
    value: 'DIR',
    help: 'Folder to store in (default: registry under the data folder of tsbuild)',
    env: 'TSREGISTRY_ROOT',
  },
  storage: {
    kind: 'string',
    value: 'PLACE',
    help: 'Where to store: filesystem:DIR, or s3://BUCKET[/PREFIX][?endpoint=URL&region=…]',
    env: 'TSREGISTRY_STORAGE',
  },
} as const

export type StoragePlace =
  | { readonly kind: 'filesystem'; readonly root: string }
  | { readonly kind: 's3'; readonly options: S3Options }

export interface OpenStorage extends AsyncDisposable {
  readonly objects: ObjectStore
  /** As people name it. */
  readonly name: string
  /** What the S3 server was found to do. */
  readonly findings?: Findings
  /** Whether no other process can be writing, where only one may. */
  readonly mayWrite?: () => boolean
}

/** Throws a usage error. `--storage` wins over a root that only the environment names. */
export function storagePlace(
  flags: { readonly root: string | undefined; readonly storage: string | undefined },
  given: ReadonlySet<string>,
  environment: Environment,
): StoragePlace {
  if (given.has('root') && given.has('storage')) {
    throw usageError('Cannot use --root and --storage together')
  }
  if (flags.storage !== undefined && !given.has('root')) {
    return parseStoragePlace('flag --storage', flags.storage, environment)
  }
  return { kind: 'filesystem', root: flags.root ?? join(environment.root, 'registry') }
}

/** Throws a usage error that begins with `what`. */
export function parseStoragePlace(
  what: string,
  text: string,
  environment: Environment,
): StoragePlace {
  if (text.startsWith('filesystem:') && text.length > 'filesystem:'.length) {
    return { kind: 'filesystem', root: text.slice('filesystem:'.length) }
  }
  if (text.startsWith('s3:')) {
    const options = parseAs(what, () => parseS3Address(text, s3Defaults(environment)))
    return { kind: 's3', options }
  }
  const hint = text.startsWith('distribution:')
    ? 'What distribution stored is brought over first: tsregistry copy --from distribution:DIR --to filesystem:DIR'
    : undefined
  throw usageError(
    `Cannot use ${what}: expected filesystem:DIR or s3://BUCKET, got "${text}"`,
    hint,
  )
}

/** Of what must be there already: a name misspelt is no empty registry. Throws `not-found`. */
export async function openExistingStorage(place: StoragePlace): Promise<OpenStorage> {
  if (place.kind === 'filesystem' && !existsSync(join(place.root, 'objects'))) {
    throw new OciError('not-found', `Cannot find a registry in "${printable(place.root)}"`, {
      hint: 'Name the folder that it stores in with --root, or --storage filesystem:DIR',
    })
  }
  return await openStorage(place)
}

/** Throws `denied` where nothing can be stored: who serves it must say that nobody can push. */
export function assertStorable(place: StoragePlace): void {
  if (place.kind !== 'filesystem') return
  try {
    accessSync(join(place.root, 'objects'), constants.W_OK)
  } catch (cause) {
    throw new OciError(
      'denied',
      `Cannot store in "${printable(place.root)}": ${systemReason(cause)}`,
      { cause, hint: 'Serve what is there with --read-only, or as the user who owns it' },
    )
  }
}

export async function openStorage(place: StoragePlace): Promise<OpenStorage> {
  if (place.kind === 's3') {
    const store = await openS3ObjectStore(place.options)
    return {
      ...store,
      name: describeS3(place.options),
      [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
    }
  }
  const store = await openFileObjectStore(place.root)
  return {
    objects: store.objects,
    name: place.root,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}

/** As Amazon's own programs read them. */
export function s3Defaults({ lookup }: Environment): S3Defaults {
  const accessKeyId = lookup('AWS_ACCESS_KEY_ID')
  const secretAccessKey = lookup('AWS_SECRET_ACCESS_KEY')
  const sessionToken = lookup('AWS_SESSION_TOKEN')
  return {
    region: lookup('AWS_REGION') ?? lookup('AWS_DEFAULT_REGION'),
    hasRole: namesRole(lookup),
    ca: authoritiesFrom(lookup),
    endpoint: lookup('AWS_ENDPOINT_URL_S3') ?? lookup('AWS_ENDPOINT_URL'),
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined
        ? undefined
        : { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
  }
}
