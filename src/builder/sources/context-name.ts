/**
 * What a build context is called on the command line, and what that means (X02, F11). Pure: a name
 * that looks like a directory is one.
 */
import { OciError, printable } from '../../oci/errors.ts'
import { formatReference, parseReference } from '../../oci/reference.ts'
import { type GitSource, parseGitSource } from '../plan/git-source.ts'

export type ContextName =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'stdin' }
  | { readonly kind: 'git'; readonly source: GitSource }
  | { readonly kind: 'url'; readonly url: string }

export type NamedContextName =
  | Exclude<ContextName, { kind: 'stdin' }>
  /** `reference` in its full form. */
  | { readonly kind: 'image'; readonly reference: string }
  /** `version`: a tag or a digest; absent: the only image there, else `latest`. */
  | { readonly kind: 'oci-layout'; readonly directory: string; readonly version?: string }

/** By the names that `--build-context` gives them. */
export type NamedContextNames = ReadonlyMap<string, NamedContextName>

/** The context that `tsbuild build` is given. Throws DockerfileError for a malformed repository. */
export function parseContextName(text: string): ContextName {
  if (text === '-') return { kind: 'stdin' }
  const source = gitSource(text)
  if (source !== undefined) return { kind: 'git', source }
  if (/^https?:\/\//i.test(text)) return { kind: 'url', url: text }
  return { kind: 'directory', path: text }
}

/**
 * The value of a `--build-context`. Throws `invalid` for a malformed one, `unsupported` for a target
 * of bake.
 */
export function parseNamedContext(text: string): NamedContextName {
  const image = afterPrefix(text, 'docker-image://')
  if (image !== undefined) {
    return { kind: 'image', reference: formatReference(parseReference(image)) }
  }
  const layout = afterPrefix(text, 'oci-layout://')
  if (layout !== undefined) return parseLayout(layout)
  if (text.startsWith('target:')) {
    throw new OciError('unsupported', `Build context "${printable(text)}" is for bake files only`)
  }
  const name = parseContextName(text)
  if (name.kind !== 'stdin') return name
  throw new OciError(
    'invalid',
    'Build context "-" has no name: give it as the context of the build',
  )
}

function afterPrefix(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined
}

/** A tag stands behind the last colon of the last component. */
function parseLayout(text: string): NamedContextName {
  const [, directory = text, digest, tag] =
    /^(.*?)(?:@(\w+:[0-9a-f]+)|:(\w[\w.-]*))?$/s.exec(text) ?? []
  const version = digest ?? tag
  return { kind: 'oci-layout', directory, ...(version === undefined ? {} : { version }) }
}

/**
 * As for ADD, and besides: `github.com/…`, and `file://….git`, which a user may read but no
 * Dockerfile.
 */
function gitSource(text: string): GitSource | undefined {
  if (text.startsWith('github.com/')) return parseGitSource(`https://${asRepository(text)}`)
  const path = afterPrefix(text, 'file://')
  if (path === undefined) return parseGitSource(text)
  const source = parseGitSource(`git://${path}`)
  if (source === undefined) return undefined
  return { ...source, remote: `file://${source.remote.slice('git://'.length)}` }
}

/** GitHub answers to both spellings; a repository is known by the suffix. */
function asRepository(text: string): string {
  return text.replace(/^([^#?]*?)(?:\.git)?(?=[#?]|$)/, '$1.git')
}
