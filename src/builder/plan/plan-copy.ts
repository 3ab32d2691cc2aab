/**
 * COPY and ADD → a step: where from, where to, and as whom (C01–C06, C16–C20, C26–C30).
 */
import { baseName, cleanPath, resolvePath } from '../dockerfile/clean-path.ts'
import { DockerfileError } from '../dockerfile/error.ts'
import { heredocBody } from '../dockerfile/heredoc.ts'
import type { CopyInstruction } from '../dockerfile/instruction.ts'
import { type Mode, parseMode } from '../dockerfile/mode.ts'
import { type GitSource, parseGitSource } from './git-source.ts'
import { addHistory } from './image-config.ts'
import {
  expandIn,
  expandReporting,
  numberedName,
  ofInstruction,
  type StageState,
  shownText,
} from './stage-state.ts'
import type { CopyStep, Source, StageInstruction } from './step.ts'

/** The words of the instruction, expanded. */
interface Words {
  readonly sources: readonly string[]
  readonly dest: string
  readonly chown: string
  readonly chmod: string
  readonly checksum: string
}

export function planCopy(
  state: StageState,
  entry: StageInstruction,
  instruction: CopyInstruction,
): void {
  const words = expandedWords(state, instruction)
  refuseNamesWithLink(words.chown, instruction)
  const chmod = words.chmod === '' ? undefined : parseMode(words.chmod)
  const sources = words.sources.map(word => sourceOf(instruction, word))
  checkChecksum(words.checksum, sources)
  const heredocs = instruction.heredocs.map(heredoc => heredocSource(state, instruction, heredoc))
  const historyText = `${copyHistory(instruction, words)} # buildkit`
  state.steps.push({
    kind: 'copy',
    add: instruction.kind === 'add',
    sources: [...sources, ...heredocs],
    from: entry.origins[0] ?? { kind: 'context' },
    dest: destination(state.image.config.WorkingDir ?? '/', words.dest),
    link: instruction.link,
    parents: instruction.parents,
    exclude: instruction.exclude.map(pattern =>
      // A backslash is the pattern's own, unless there is something to expand (V10).
      pattern.includes('$') ? expandIn(state, instruction, pattern) : pattern,
    ),
    ...optionalParts(instruction, { words, chmod, sources }),
    ...ofInstruction(entry, {
      displayName: numberedName(state, entry, shownText(state, instruction.code)),
      historyText,
    }),
  })
  addHistory(state.image, historyText, 'layer')
}

function expandedWords(state: StageState, instruction: CopyInstruction): Words {
  const expandWord = (word: string) => expandIn(state, instruction, word)
  return {
    chown: expandWord(instruction.chown ?? ''),
    chmod: expandWord(instruction.chmod ?? ''),
    checksum: expandWord(instruction.checksum ?? ''),
    sources: instruction.sources.map(expandWord),
    dest: expandWord(instruction.dest),
  }
}

/** The flags that only some instructions have, left out when they were not given. */
function optionalParts(
  instruction: CopyInstruction,
  parts: { words: Words; chmod: Mode | undefined; sources: readonly Source[] },
): Partial<CopyStep> {
  const git = parts.sources.filter(source => source.kind === 'git')
  const checksum = agreed(parts.words.checksum || undefined, git, 'checksum')
  const keepGitDir = agreed(instruction.keepGitDir, git, 'keepGitDir')
  return {
    ...(parts.words.chown === '' ? {} : { chown: ownerOf(parts.words.chown, instruction) }),
    ...(parts.chmod === undefined ? {} : { chmod: parts.chmod }),
    ...(checksum === undefined ? {} : { checksum }),
    ...(keepGitDir === undefined ? {} : { keepGitDir }),
    ...(instruction.unpack === undefined ? {} : { unpack: instruction.unpack }),
  }
}

/** What the flag says, if the repository's URL does not say otherwise. */
function agreed<Key extends 'checksum' | 'keepGitDir'>(
  flag: GitSource[Key],
  sources: readonly GitSource[],
  key: Key,
): GitSource[Key] {
  for (const source of sources) {
    const own = source[key]
    if (own === undefined || flag === undefined || own === flag) continue
    throw new DockerfileError(
      key === 'checksum'
        ? `checksum mismatch "${flag}" != "${own}"`
        : 'inconsistent keep-git-dir configuration',
    )
  }
  return flag
}

function sourceOf(instruction: CopyInstruction, word: string): Source {
  const git = parseGitSource(word)
  if (git !== undefined) {
    if (instruction.kind === 'copy') {
      throw new DockerfileError("source can't be a git ref for COPY")
    }
    return { kind: 'git', ...git }
  }
  if (/^https?:\/\//.test(word)) {
    if (instruction.kind === 'copy') throw new DockerfileError("source can't be a URL for COPY")
    return { kind: 'url', url: word, name: urlName(word) }
  }
  return pathSource(word, instruction.parents)
}

/** `a/./b/c` with --parents: only `b/c` is repeated below the destination (C19). */
function pathSource(word: string, parents: boolean): Source {
  const pivot = parents ? word.indexOf('/./') : -1
  return {
    kind: 'path',
    path: cleanPath(`/${word}`),
    pivot: pivot === -1 ? '/' : cleanPath(`/${word.slice(0, pivot)}`),
  }
}

/** The last element of the URL's path, for a destination that is a directory (C26). */
function urlName(url: string): string {
  const path = /^https?:\/\/[^/?#]*([^?#]*)/.exec(url)?.[1] ?? ''
  const name = baseName(decoded(path))
  return name === '' || name === '.' || name === '..' ? '__unnamed__' : name
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

function heredocSource(
  state: StageState,
  instruction: CopyInstruction,
  heredoc: CopyInstruction['heredocs'][number],
): Source {
  const body = heredocBody(heredoc)
  const content = heredoc.expand
    ? expandReporting(state, instruction, { word: body, options: { quotes: 'literal' } }).text
    : body
  return { kind: 'heredoc', file: { path: heredoc.name, content } }
}

/** Absolute and cleaned; a trailing slash (or `/.`, or nothing) says that it is a directory (C05). */
function destination(workdir: string, dest: string): string {
  const path = resolvePath(workdir, dest)
  const isDirectory = dest === '' || dest === '.' || dest.endsWith('/') || dest.endsWith('/.')
  return isDirectory && path !== '/' ? `${path}/` : path
}

/** There is no passwd below such a layer to look names up in; but root is 0 everywhere (C20). */
function refuseNamesWithLink(chown: string, instruction: CopyInstruction): void {
  if (!instruction.link || chown === '') return
  if (chown.split(':').every(part => /^(?:\d*|root)$/.test(part))) return
  throw new DockerfileError(
    `--chown=${chown}: user and group names can't be resolved when used with --link, use numeric uid[:gid] instead`,
  )
}

function ownerOf(chown: string, { link }: CopyInstruction): string {
  return link ? chown.replaceAll('root', '0') : chown
}

const digestLengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }

function checkChecksum(checksum: string, sources: readonly Source[]): void {
  if (checksum === '') return
  const [source] = sources
  if (source === undefined || sources.length !== 1) {
    throw new DockerfileError("checksum can't be specified for multiple sources")
  }
  if (source.kind === 'path') {
    throw new DockerfileError('checksum requires HTTP(S) or Git sources')
  }
  if (source.kind === 'url') checkDigest(checksum)
}

function checkDigest(text: string): void {
  const [, algorithm = '', hex = ''] = /^([a-z0-9+._-]+):([a-zA-Z0-9=_-]+)$/.exec(text) ?? []
  if (hex === '') throw new DockerfileError('invalid checksum digest format')
  const length = Object.hasOwn(digestLengths, algorithm) ? digestLengths[algorithm] : undefined
  if (length === undefined) throw new DockerfileError('unsupported digest algorithm')
  if (hex.length !== length) throw new DockerfileError('invalid checksum digest length')
  if (!/^[0-9a-f]+$/.test(hex)) throw new DockerfileError('invalid checksum digest format')
}

function copyHistory(instruction: CopyInstruction, words: Words): string {
  return [
    instruction.kind.toUpperCase(),
    ...(instruction.parents ? ['--parents'] : []),
    ...(words.chown === '' ? [] : [`--chown=${words.chown}`]),
    ...(words.chmod === '' ? [] : [`--chmod=${words.chmod}`]),
    ...words.sources,
    ...instruction.heredocs.map(({ name }) => `<<${name}`),
    words.dest,
  ].join(' ')
}
