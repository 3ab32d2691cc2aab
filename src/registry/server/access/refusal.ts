/** 403: who may not do what. It is said of repositories that exist and of others in the same words. */
import { OciError } from '../../../oci/errors.ts'
import type { Wanted } from './decide.ts'
import type { Identity } from './identity.ts'

const deeds: Readonly<Record<Wanted['action'], string>> = {
  none: 'use this registry',
  list: 'list repositories',
  pull: 'pull from',
  push: 'push to',
  undo: 'change tags of',
  delete: 'delete from',
}

export function refusal({ name }: Identity, { action, repository }: Wanted): OciError {
  const who = name === '' ? 'nobody' : `"${name}"`
  const object = repository === undefined ? '' : ` "${repository}"`
  return new OciError(
    'denied',
    `requested access to the resource is denied: ${who} may not ${deeds[action]}${object}`,
  )
}
