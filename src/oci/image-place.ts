/**
 * Where an image is, or goes, in the words of skopeo, podman and buildah:
 *
 *   NAME[:TAG][@DIGEST], an id      whatever the command takes a bare name for
 *   docker://NAME[:TAG][@DIGEST]    a registry
 *   oci:DIRECTORY[:NAME]            an OCI layout that lies open
 *   oci-archive:FILE[:NAME]         one in a tar
 *   docker-archive:FILE[:NAME]      what `docker save` writes
 *
 * As with those tools, a path holds no colon: the first one begins the name.
 */
import { OciError, printable } from './errors.ts'
import { parseReference, type Reference } from './reference.ts'

export type ImagePlace =
  /** To be looked up; perhaps an id. */
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'registry'; readonly reference: Reference }
  | FilePlace

/** `name`: which image of those in there; absent: the only one. */
export interface FilePlace {
  readonly kind: 'oci' | 'oci-archive' | 'docker-archive'
  readonly path: string
  readonly name?: string
}

const fileKinds = ['oci', 'oci-archive', 'docker-archive'] as const

/** Those of other tools: an image of such a name is much less likely than what they mean by it. */
const foreign = ['atomic', 'containers-storage', 'dir', 'docker-daemon', 'ostree', 'sif', 'tarball']

const known =
  'There are docker://NAME, oci:DIRECTORY[:NAME], oci-archive:FILE[:NAME] and docker-archive:FILE[:NAME]'

/** Throws `invalid` for what is no place, `unsupported` for one of a transport that we lack. */
export function parseImagePlace(text: string): ImagePlace {
  const [, transport, rest = ''] = /^([a-z][a-z0-9-]*):(.*)$/s.exec(text) ?? []
  const kind = fileKinds.find(each => each === transport)
  if (kind !== undefined) return filePlace(kind, rest, text)
  if (transport === 'docker' && rest.startsWith('//')) {
    return { kind: 'registry', reference: parseReference(rest.slice(2)) }
  }
  if (transport !== undefined && (foreign.includes(transport) || rest.startsWith('//'))) {
    throw new OciError('unsupported', `Cannot use "${printable(text)}": no such transport`, {
      hint: known,
    })
  }
  return { kind: 'name', text }
}

function filePlace(kind: FilePlace['kind'], rest: string, text: string): FilePlace {
  const colon = rest.indexOf(':')
  const path = colon === -1 ? rest : rest.slice(0, colon)
  const name = colon === -1 ? '' : rest.slice(colon + 1)
  if (path === '' || path.includes('\0')) {
    throw new OciError('invalid', `Cannot use "${printable(text)}": it names no path`, {
      hint: known,
    })
  }
  return name === '' ? { kind, path } : { kind, path, name }
}

/** What was parsed, in the words it came in. */
export function formatImagePlace({ kind, path, name }: FilePlace): string {
  return printable(name === undefined ? `${kind}:${path}` : `${kind}:${path}:${name}`)
}
