/** `--secret`: where a secret of a RUN step comes from. */
import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { maxSecretSize, type SecretSource } from '../../builder/steps/step-world.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { systemReason } from '../../oci/system-error.ts'
import { usageError } from '../cli-error.ts'
import type { EnvironmentLookup } from '../flags/flags.ts'
import { parseSettings } from './key-values.ts'

type Origin =
  /** `isGuessed`: the user named neither a file nor a variable. */
  | { readonly kind: 'file'; readonly path: string; readonly isGuessed: boolean }
  | { readonly kind: 'env'; readonly name: string }

/**
 * `id=x[,src=FILE|,env=VAR]`; with neither, the variable of that name, else the file. Read when a
 * step asks for it, and then as it is at that moment.
 */
export function secretSource(texts: readonly string[], lookup: EnvironmentLookup): SecretSource {
  const origins = new Map(texts.map(text => parseSecret(text, lookup)))
  return async id => {
    const origin = origins.get(id)
    if (origin === undefined) return undefined
    if (origin.kind === 'file') return readSecret(id, origin)
    const value = lookup(origin.name)
    if (value !== undefined) return Buffer.from(value)
    throw new OciError(
      'not-found',
      `Cannot read secret "${printable(id)}": variable "${printable(origin.name)}" is not set`,
      { hint: `Export it, or name a file: --secret id=NAME,src=FILE` },
    )
  }
}

function parseSecret(text: string, lookup: EnvironmentLookup): readonly [string, Origin] {
  const settings = parseSettings('secret', text, ['id', 'src', 'source', 'env', 'type'])
  const path = settings.get('src') ?? settings.get('source')
  const variable = settings.get('env')
  const type = settings.get('type') ?? (variable === undefined ? undefined : 'env')
  const id = settings.get('id') ?? variable ?? path?.slice(path.lastIndexOf('/') + 1)
  if (id === undefined || id === '') throw usageError(`Flag --secret "${text}" has no id`)
  if (type !== undefined && type !== 'file' && type !== 'env') {
    throw usageError(`Cannot use flag --secret "${text}": type is file or env, not "${type}"`)
  }
  const isVariable = type === 'env' || (type === undefined && path === undefined && lookup(id))
  if (isVariable) return [id, { kind: 'env', name: variable ?? path ?? id }]
  return [id, { kind: 'file', path: path ?? id, isGuessed: path === undefined }]
}

/** No more than tells that it is too long: it may be a device without an end. */
async function readSecret(
  id: string,
  { path, isGuessed }: Extract<Origin, { kind: 'file' }>,
): Promise<Uint8Array> {
  try {
    const chunks: Uint8Array[] = await createReadStream(path, { end: maxSecretSize }).toArray()
    return Buffer.concat(chunks)
  } catch (cause) {
    throw new OciError(
      'not-found',
      `Cannot read secret "${printable(id)}" from "${printable(resolve(path))}": ${systemReason(cause)}`,
      {
        cause,
        hint: isGuessed
          ? 'No variable has that name either; say where it is: --secret id=NAME,src=FILE or env=VARIABLE'
          : 'Name a file that can be read: --secret id=NAME,src=FILE',
      },
    )
  }
}
