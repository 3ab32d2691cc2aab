/**
 * Refs of repositories: which may be asked for, and which commit a server says they are (C29).
 */
import { OciError, printable } from '../../oci/errors.ts'

/** A whole commit name, of SHA-1 or SHA-256. */
export function isCommit(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text)
}

/**
 * Throws `invalid` for what git-check-ref-format(1) forbids: it would be an option, a pattern or a
 * refspec to git instead of a name.
 */
export function assertRef(ref: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is being refused
  const isName = /^[^\x00-\x20\x7f~^:?*[\\]+$/.test(ref)
  const isForbidden = /^[-/.+]|\/$|\.$|\.\.|\/\/|\/\.|@\{|\.lock(?:\/|$)|^@$/.test(ref)
  if (isName && !isForbidden) return
  throw new OciError('invalid', `Cannot use git ref "${printable(ref)}": not a valid name`)
}

/** What to ask `git ls-remote` for. */
export function refPatterns(ref: string | undefined): string[] {
  return ref === undefined ? ['HEAD'] : [ref, `${ref}^{}`]
}

export interface RemoteRef {
  readonly commit: string
  /** Of an annotated tag: the tag's own name. */
  readonly tag?: string
}

/**
 * The commit of `ref` in what `git ls-remote` printed, chosen as `git checkout` would: the very ref,
 * else a branch, else a tag. `undefined` when there is none.
 */
export function chooseRef(output: string, ref: string | undefined): RemoteRef | undefined {
  const found = parseRefs(output)
  const names =
    ref === undefined
      ? ['HEAD']
      : [
          `refs/${withoutPrefix(ref, 'refs/')}`,
          `refs/heads/${withoutPrefix(ref, 'refs/heads/')}`,
          `refs/tags/${withoutPrefix(ref, 'refs/tags/')}`,
        ]
  for (const name of names) {
    const named = found.get(name)
    if (named === undefined) continue
    const peeled = found.get(`${name}^{}`)
    return peeled === undefined ? { commit: named } : { commit: peeled, tag: named }
  }
  return undefined
}

function withoutPrefix(ref: string, prefix: string): string {
  return ref.startsWith(prefix) ? ref.slice(prefix.length) : ref
}

function parseRefs(output: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const line of output.split('\n')) {
    const [commit = '', name] = line.split('\t')
    if (name !== undefined && isCommit(commit)) found.set(name, commit)
  }
  return found
}

/**
 * Throws `digest-mismatch` in BuildKit's words when `checksum` is no beginning of the commit's name
 * nor of the tag's, and `invalid` when it names no commit.
 */
export function assertChecksum(checksum: string, { commit, tag }: RemoteRef): void {
  const wanted = checksum.toLowerCase()
  if (!/^[0-9a-f]{7,64}$/.test(wanted)) {
    throw new OciError(
      'invalid',
      `invalid checksum "${printable(checksum)}" for a git repository: expected at least 7 digits of a commit`,
    )
  }
  if (commit.startsWith(wanted) || tag?.startsWith(wanted) === true) return
  const got = tag === undefined ? commit : `${tag} or ${commit}`
  throw new OciError('digest-mismatch', `expected checksum to match ${wanted}, got ${got}`)
}
