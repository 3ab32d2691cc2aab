/**
 * What a token is asked for and issued for.
 *
 *   scope    = resource *( SP resource )
 *   resource = type ":" name ":" action *( "," action )
 *   type     = 1*( a-z 0-9 ) [ "(" class ")" ]
 *
 * A name may begin with a host and port: the type ends at the first colon, the name at the last.
 * Spec: distribution, Docker Registry v2 token scope.
 */
import { OciError, printable } from '../../../oci/errors.ts'
import { parseRepositoryName } from '../../../oci/reference.ts'

export interface Resource {
  readonly type: string
  readonly name: string
  readonly actions: readonly string[]
}

export interface TokenScope {
  may(type: string, name: string, action: string): boolean
}

const maxResources = 100
const maxLength = 16 * 1024

/** Throws `invalid`. The texts of several parameters `scope`, each with one or more resources. */
export function parseScopes(texts: readonly string[]): Resource[] {
  if (texts.reduce((length, text) => length + text.length, 0) > maxLength) {
    throw new OciError('invalid', `Cannot parse scope: more than ${maxLength} characters`)
  }
  const words = texts.flatMap(text => (text === '' ? [] : text.split(' ')))
  if (words.length > maxResources) {
    throw new OciError('invalid', `Cannot parse scope: more than ${maxResources} resources`)
  }
  return words.map(parseResource)
}

/** Of a repository with a host's name before it, the name as the registry knows it. */
function parseResource(text: string): Resource {
  const [, type, name, actions] = /^([a-z0-9]+)(?:\([a-z0-9]+\))?:(.+):([a-z*,]*)$/.exec(text) ?? []
  if (type === undefined || name === undefined || actions === undefined) throw malformed(text)
  const listed = actions === '' ? [] : actions.split(',')
  if (!listed.every(action => /^(?:[a-z]+|\*)$/.test(action))) throw malformed(text)
  if (type === 'repository') mustBeRepository(name, text)
  return { type, name, actions: [...new Set(listed)] }
}

function mustBeRepository(name: string, text: string): void {
  // As `host:port/name`: asked for by clients of mirrors, never granted, and no mistake.
  if (/^[A-Za-z0-9.-]+:[0-9]{1,5}\//.test(name)) return
  try {
    parseRepositoryName(name)
  } catch {
    throw malformed(text)
  }
}

/** Exact names alone: a token for `*` is a token for nothing. */
export function scopeOf(resources: readonly Resource[]): TokenScope {
  const granted = new Map<string, Map<string, Set<string>>>()
  for (const { type, name, actions } of resources) {
    const names = granted.get(type) ?? new Map<string, Set<string>>()
    granted.set(type, names.set(name, new Set([...(names.get(name) ?? []), ...actions])))
  }
  return {
    may: (type, name, action) => {
      const actions = granted.get(type)?.get(name)
      return actions !== undefined && (actions.has(action) || actions.has('*'))
    },
  }
}

function malformed(text: string): OciError {
  return new OciError(
    'invalid',
    `Cannot parse scope "${printable(text, 80)}": expected TYPE:NAME:ACTION[,ACTION] such as "repository:app:pull"`,
  )
}
