/**
 * WWW-Authenticate: what a registry asks for before it answers.
 *
 *   challenge  = scheme [ SP ( token68 / param *( "," param ) ) ]
 *   param      = token "=" ( token / quoted-string )
 *
 * Several challenges may share a header, separated by the same comma that separates parameters: a
 * token followed by "=" continues a challenge, any other starts one. Spec: RFC 9110 §11.6.1.
 */
import { OciError, printable } from '../../oci/errors.ts'

export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string
  /** Names are lower case; a repeated name is refused. */
  readonly params: ReadonlyMap<string, string>
}

/** Longer headers are refused unread. */
const maxLength = 8192

const param = /([\w!#$%&'*+.^`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([\w!#$%&'*+.^`|~-]+))/y
const scheme = /([\w!#$%&'*+.^`|~-]+)(?![ \t]*=[^=,]|[\w!#$%&'*+.^`|~-])/y
const token68 = /[ \t]+([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$))/y
const comma = /[ \t]*(?:,[ \t]*)+/y
const space = /[ \t]+/y

/** Throws `invalid` for anything that is not the grammar above. Takes time linear in the length. */
export function parseChallenges(header: string): Challenge[] {
  if (header.length > maxLength) throw malformed(header)
  const scanner = createScanner(header)
  const challenges: Challenge[] = []
  scanner.take(comma)
  scanner.take(space)
  while (!scanner.atEnd()) {
    challenges.push(challengeFrom(scanner, header))
    if (!scanner.take(comma) && !scanner.atEnd()) throw malformed(header)
  }
  return challenges
}

function challengeFrom(scanner: Scanner, header: string): Challenge {
  const name = scanner.take(scheme)?.[1]
  if (name === undefined) throw malformed(header)
  const params = new Map<string, string>()
  if (scanner.take(token68) === undefined) readParams(scanner, params, header)
  return { scheme: name.toLowerCase(), params }
}

/** Stops before the comma that no parameter follows: it ends the challenge. */
function readParams(scanner: Scanner, params: Map<string, string>, header: string): void {
  if (scanner.take(space) === undefined) return
  for (;;) {
    const found = scanner.take(param)
    if (found === undefined) return
    const [, name = '', quoted, plain = ''] = found
    const key = name.toLowerCase()
    if (params.has(key)) throw malformed(header)
    params.set(key, quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'))
    const beforeComma = scanner.position()
    if (scanner.take(comma) === undefined) {
      scanner.take(space)
      return
    }
    if (!scanner.looksAt(param)) {
      scanner.moveTo(beforeComma)
      return
    }
  }
}

interface Scanner {
  take(pattern: RegExp): RegExpExecArray | undefined
  looksAt(pattern: RegExp): boolean
  position(): number
  moveTo(position: number): void
  atEnd(): boolean
}

/** Patterns are sticky, so each is tried at one place only. */
function createScanner(text: string): Scanner {
  let at = 0
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at
    return pattern.exec(text) ?? undefined
  }
  return {
    take(pattern) {
      const found = match(pattern)
      if (found !== undefined) at += found[0].length
      return found
    },
    looksAt: pattern => match(pattern) !== undefined,
    position: () => at,
    moveTo(position) {
      at = position
    },
    atEnd: () => at === text.length,
  }
}

function malformed(header: string): OciError {
  return new OciError(
    'invalid',
    `Cannot parse WWW-Authenticate "${printable(header, 80)}": expected challenges with parameters`,
  )
}
