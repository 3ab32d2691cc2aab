/** `--secret`: where a secret of a RUN step comes from. */
import { readFile } from 'node:fs/promises'
import type { SecretSource } from '../../builder/steps/step-world.ts'
import { OciError, printable } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'
import type { EnvironmentLookup } from '../flags.ts'
import { parseSettings } from './key-values.ts'

type Origin =
  | { readonly kind: 'file'; readonly path: string }
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
    if (origin.kind === 'file') return readSecret(id, origin.path)
    const value = lookup(origin.name)
    if (value !== undefined) return Buffer.from(value)
    throw new OciError(
      'not-found',
      `Cannot read secret "${id}": variable ${origin.name} is not set`,
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
  return [id, { kind: 'file', path: path ?? id }]
}

async function readSecret(id: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new OciError(
      'not-found',
      `Cannot read secret "${printable(id)}" from "${printable(path)}"`,
      { cause, hint: 'give a file that can be read with --secret id=NAME,src=FILE' },
    )
  }
}
