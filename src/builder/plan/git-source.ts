/**
 * Sources of ADD that are repositories (C29): which words are, and what their URL asks for.
 */
import { cleanPath } from '../dockerfile/clean-path.ts'
import { parseBoolean } from '../dockerfile/directive.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { goQuote } from '../dockerfile/go-quote.ts'

export interface GitSource {
  /** What git is given: without `#…` and `?…`. */
  readonly remote: string
  /** Branch, tag or commit; absent: the remote's default branch. */
  readonly ref?: string
  readonly subdir?: string
  /** The commit that the ref must be. */
  readonly checksum?: string
  readonly keepGitDir?: boolean
  readonly submodules?: boolean
  /** Fetch what the repository keeps in git-lfs. */
  readonly lfs?: boolean
  /** Trust `checksum` as the commit and fetch it directly. */
  readonly fetchByCommit?: boolean
  /** What files' times are: those of the checkout, or of the commit. */
  readonly mtime?: 'checkout' | 'commit'
}

interface Split {
  readonly remote: string
  readonly query: string
  readonly fragment: string
}

/**
 * The repository a word names: `git://`, `ssh://`, `user@host:path`, and `http(s)://` that ends in
 * `.git`; `undefined` for anything else. Throws DockerfileError when its options contradict.
 */
export function parseGitSource(text: string): GitSource | undefined {
  const split = splitUrl(text)
  if (split === undefined || !isRepository(split.remote)) return undefined
  const [ref = '', subdir = ''] = cut(split.fragment, ':')
  const cleanSubdir = cleanPath(`/${subdir}`).slice(1)
  const fromFragment: Draft = {
    remote: split.remote,
    ...(ref === '' ? {} : { ref }),
    ...(cleanSubdir === '' ? {} : { subdir: cleanSubdir }),
  }
  return withQuery(fromFragment, split.query)
}

type Draft = { -readonly [Key in keyof GitSource]: GitSource[Key] }

function splitUrl(text: string): Split | undefined {
  if (!/^[a-zA-Z0-9]+:\/\//.test(text) && !/^[a-zA-Z0-9-]+@[a-zA-Z0-9-.]+:/.test(text)) {
    return undefined
  }
  const [beforeFragment = '', fragment = ''] = cut(text, '#')
  const [remote = '', query = ''] = cut(beforeFragment, '?')
  return { remote, query, fragment }
}

function isRepository(remote: string): boolean {
  const scheme = /^([a-zA-Z0-9]+):\/\//.exec(remote)?.[1]?.toLowerCase()
  if (scheme === undefined || scheme === 'git' || scheme === 'ssh') return true
  return (scheme === 'http' || scheme === 'https') && remote.endsWith('.git')
}

function withQuery(draft: Draft, query: string): GitSource {
  const given = new Map<string, string>()
  for (const [key, value] of new URLSearchParams(query)) {
    if (given.has(key)) throw new DockerfileError(`query ${goQuote(key)} has multiple values`)
    given.set(key, value)
  }
  for (const [key, value] of given) setOption(draft, key, value)
  return withNamedRef(draft, given)
}

function setOption(draft: Draft, key: string, value: string): void {
  switch (key) {
    case 'ref':
    case 'subdir':
      refuseConflict(key, draft[key], required(key, value))
      draft[key] = value
      return
    case 'tag':
    case 'branch':
      required(key, value)
      return
    case 'checksum':
    case 'commit':
      draft.checksum = required(key, value)
      return
    case 'keep-git-dir':
      draft.keepGitDir = flagOf(key, value)
      return
    case 'submodules':
      draft.submodules = flagOf(key, value)
      return
    case 'lfs':
      draft.lfs = flagOf(key, value)
      return
    case 'fetch-by-commit':
      draft.fetchByCommit = flagOf(key, value)
      return
    case 'mtime':
      draft.mtime = mtimeOf(required(key, value))
      return
    default:
      throw new DockerfileError(`unexpected query ${goQuote(key)}`)
  }
}

/** `tag` and `branch` are refs by their full name. */
function withNamedRef(draft: Draft, given: ReadonlyMap<string, string>): GitSource {
  const tag = given.get('tag')
  const branch = given.get('branch')
  if (tag !== undefined && branch !== undefined) {
    throw new DockerfileError('branch conflicts with tag')
  }
  const named =
    tag === undefined ? inNamespace('refs/heads/', branch) : inNamespace('refs/tags/', tag)
  if (named === undefined) return draft
  refuseConflict('ref', draft.ref, named)
  return { ...draft, ref: named }
}

function inNamespace(prefix: string, name: string | undefined): string | undefined {
  return name === undefined || name.startsWith(prefix) ? name : prefix + name
}

function refuseConflict(key: string, before: string | undefined, value: string): void {
  if (before === undefined || before === value) return
  throw new DockerfileError(`${key} conflicts: ${goQuote(before)} vs ${goQuote(value)}`)
}

function required(key: string, value: string): string {
  if (value !== '') return value
  throw new DockerfileError(`query ${goQuote(key)} has no value`)
}

function flagOf(key: string, value: string): boolean {
  const flag = value === '' ? true : parseBoolean(value)
  if (flag !== undefined) return flag
  throw new DockerfileError(`invalid ${key} value: ${goQuote(value)}`)
}

function mtimeOf(value: string): 'checkout' | 'commit' {
  if (value === 'checkout' || value === 'commit') return value
  throw new DockerfileError(
    `invalid mtime value: ${goQuote(value)} (must be "checkout" or "commit")`,
  )
}

function cut(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + separator.length)]
}
