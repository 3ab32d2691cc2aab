/**
 * The policy file: YAML, checked whole, every mistake told with its line.
 *
 *   admins: ["user:root"]
 *   groups:
 *     developers: [alice, bob, robot+ci]
 *   policies:
 *     - repositories: ["public/**"]
 *       allow:
 *         - to: [anyone]
 *           rights: [pull]
 *         - to: ["group:developers"]
 *           rights: [pull, push]
 *   issuers:
 *     github: { issuer: "https://token.actions.githubusercontent.com", audience: registry.example }
 */
import * as v from 'valibot'
import { LineCounter, parseDocument } from 'yaml'
import { OciError, printable } from '../../../oci/errors.ts'
import { isSafeAddress } from './fetch-document.ts'
import type { IssuerOptions } from './issuers.ts'
import { allRights, type Policy, type Subject } from './policy.ts'

export interface PolicyFile {
  readonly policy: Policy
  readonly issuers: readonly IssuerOptions[]
}

const pattern = v.pipe(v.string(), v.minLength(1, 'an empty pattern matches nothing'))
const patterns = v.pipe(v.array(pattern), v.minLength(1, 'expected at least one'))

const subject = v.pipe(
  v.string(),
  v.regex(
    /^(?:anyone|authenticated|(?:user|group):.+)$/s,
    'expected anyone, authenticated, user:NAME or group:NAME',
  ),
  v.transform(subjectFrom),
)

const subjects = v.pipe(v.array(subject), v.minLength(1, 'expected at least one'))

const rights = v.pipe(
  v.array(v.picklist([...allRights, 'all'])),
  v.transform(names => allRights.filter(right => names.includes(right) || names.includes('all'))),
)

const entry = v.strictObject({
  repositories: patterns,
  allow: v.array(v.strictObject({ to: subjects, rights })),
})

const httpsUrl = v.pipe(
  v.string(),
  v.check(
    text => URL.canParse(text) && isSafeAddress(new URL(text)),
    'expected an https:// address (http:// for this machine alone)',
  ),
)

const issuer = v.strictObject({
  issuer: v.pipe(v.string(), v.minLength(1)),
  audience: v.pipe(v.string(), v.minLength(1)),
  jwks: v.optional(v.string()),
  algorithms: v.optional(
    v.array(v.picklist(['RS256', 'RS384', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA'])),
  ),
  subject: v.optional(v.string()),
  groups: v.optional(v.array(v.string())),
  require: v.optional(v.record(v.string(), v.string())),
})

const file = v.strictObject({
  admins: v.optional(v.array(subject), []),
  groups: v.optional(v.record(v.string(), patterns), {}),
  policies: v.array(entry),
  issuers: v.optional(v.record(v.pipe(v.string(), v.regex(/^[a-z0-9-]+$/)), issuer), {}),
})

/** Throws `invalid`: `Cannot use policy "FILE": line 3: policies.0.allow: …`. */
export function parsePolicyFile(name: string, text: string): PolicyFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  const [broken] = document.errors
  if (broken !== undefined) {
    throw unusable(name, broken.linePos?.[0].line, broken.message.split('\n', 1)[0] ?? '')
  }
  // Few aliases: a small file must not become a large value.
  const result = v.safeParse(file, document.toJS({ maxAliasCount: 20 }))
  if (!result.success) {
    const [issue] = result.issues
    const path = issue.path?.map(({ key }) => key as string | number) ?? []
    const line = lineOf(path, document, lines)
    throw unusable(name, line, `${path.join('.') || 'the file'}: ${messageOf(issue)}`)
  }
  const { admins, groups, policies, issuers } = result.output
  const options = Object.entries(issuers).map(([id, issuer]) => issuerFrom(name, id, issuer))
  return {
    policy: {
      admins,
      groups: new Map(Object.entries(groups)),
      entries: policies.map(({ repositories, allow }) => ({ repositories, grants: allow })),
    },
    issuers: options,
  }
}

function issuerFrom(name: string, id: string, value: v.InferOutput<typeof issuer>): IssuerOptions {
  const jwks = value.jwks ?? `${value.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const isFile = jwks.startsWith('/')
  if (!isFile && !v.is(httpsUrl, jwks)) {
    throw unusable(
      name,
      undefined,
      `issuers.${id}.jwks: expected a file's absolute path or an https:// address, got "${printable(jwks, 80)}"`,
    )
  }
  return {
    id,
    issuer: value.issuer,
    audience: value.audience,
    keys: isFile
      ? { kind: 'file', path: jwks }
      : { kind: value.jwks === undefined ? 'discovery' : 'url', url: new URL(jwks) },
    algorithms: value.algorithms ?? ['RS256', 'ES256', 'EdDSA'],
    subject: value.subject ?? 'sub',
    groups: value.groups ?? [],
    require: new Map(Object.entries(value.require ?? {})),
  }
}

function subjectFrom(text: string): Subject {
  if (text === 'anyone' || text === 'authenticated') return { kind: text }
  const at = text.indexOf(':')
  return { kind: text.slice(0, at) as 'user' | 'group', pattern: text.slice(at + 1) }
}

function messageOf(issue: v.BaseIssue<unknown>): string {
  if (issue.type !== 'strict_object') return printable(issue.message, 300)
  if (issue.expected === 'never') return 'this key is not known'
  return issue.received === 'undefined' ? 'missing' : printable(issue.message, 300)
}

/** Of the innermost part of the path that is in the file: a missing key has no line of its own. */
function lineOf(
  path: readonly (string | number)[],
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    const range = (node as { readonly range?: readonly number[] } | null | undefined)?.range
    if (range?.[0] !== undefined) return lines.linePos(range[0]).line
  }
  return undefined
}

function unusable(name: string, line: number | undefined, message: string): OciError {
  const where = line === undefined ? '' : `line ${line}: `
  return new OciError('invalid', `Cannot use policy "${printable(name)}": ${where}${message}`)
}
