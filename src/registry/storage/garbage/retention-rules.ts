/**
 * Which tags stay: rules per repository, the first that matches decides.
 *
 *   { "rules": [
 *     { "repositories": ["ci/**"],
 *       "tags": [{ "match": ["pr-*"], "keepLast": 20, "keepFor": "30d" }, { "match": ["v*"] }],
 *       "untagged": "7d" } ] }
 *
 * A tag that no entry of `tags` matches is kept; one that is matched is kept when any of those
 * entries keeps it: it is among the last `keepLast`, younger than `keepFor`, or the entry has neither.
 */
import type { Digest } from '../../../oci/digest.ts'
import { OciError } from '../../../oci/errors.ts'
import {
  asArray,
  asObject,
  asSize,
  asString,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from '../../../oci/json.ts'
import type { RepositoryName, Tag } from '../../../oci/reference.ts'
import { matchesGlob } from '../glob.ts'

export interface TagRule {
  readonly match: readonly string[]
  /** Of the tags that the entry matches, by the time they were pushed. */
  readonly keepLast?: number
  readonly keepForMs?: number
}

export interface RetentionRule {
  readonly repositories: readonly string[]
  readonly tags: readonly TagRule[]
  /** After which a manifest that nothing leads to goes; absent: never. */
  readonly untaggedMs?: number
}

export type RetentionRules = readonly RetentionRule[]

export interface AgedTag {
  readonly tag: Tag
  readonly digest: Digest
  /** Milliseconds since 1970. */
  readonly pushedAt: number
}

/** Throws `invalid` with the JSON path; an unknown member is a mistake, not a wish we may ignore. */
export function parseRetentionRules(bytes: Uint8Array): RetentionRules {
  const node = parseJson('retention rules', bytes)
  mustKnow(node, ['rules'])
  return asArray(member(node, 'rules')).map(ruleFrom)
}

export function ruleFor(
  rules: RetentionRules,
  repository: RepositoryName,
): RetentionRule | undefined {
  return rules.find(rule => matchesAny(rule.repositories, repository))
}

/** The tags that the rule lets go, in the order they came. */
export function expiredTags<T extends AgedTag>(
  rule: RetentionRule,
  tags: readonly T[],
  now: number,
): T[] {
  const newestFirst = [...tags].sort((a, b) => b.pushedAt - a.pushedAt || (a.tag < b.tag ? -1 : 1))
  const matched = new Set<T>()
  const kept = new Set<T>()
  for (const entry of rule.tags) {
    const candidates = newestFirst.filter(({ tag }) => matchesAny(entry.match, tag))
    for (const [i, tag] of candidates.entries()) {
      matched.add(tag)
      if (keeps(entry, { place: i, ageMs: now - tag.pushedAt })) kept.add(tag)
    }
  }
  return tags.filter(tag => matched.has(tag) && !kept.has(tag))
}

function keeps(
  { keepLast, keepForMs }: TagRule,
  { place, ageMs }: { readonly place: number; readonly ageMs: number },
): boolean {
  if (keepLast === undefined && keepForMs === undefined) return true
  return (
    (keepLast !== undefined && place < keepLast) || (keepForMs !== undefined && ageMs < keepForMs)
  )
}

function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some(pattern => matchesGlob(pattern, name))
}

function ruleFrom(node: JsonNode): RetentionRule {
  mustKnow(node, ['repositories', 'tags', 'untagged'])
  return {
    repositories: patternsFrom(member(node, 'repositories')),
    tags: (optional(member(node, 'tags'), asArray) ?? []).map(tagRuleFrom),
    ...field('untaggedMs', optional(member(node, 'untagged'), asAge)),
  }
}

function tagRuleFrom(node: JsonNode): TagRule {
  mustKnow(node, ['match', 'keepLast', 'keepFor'])
  return {
    match: patternsFrom(member(node, 'match')),
    ...field('keepLast', optional(member(node, 'keepLast'), asSize)),
    ...field('keepForMs', optional(member(node, 'keepFor'), asAge)),
  }
}

function patternsFrom(node: JsonNode): string[] {
  const patterns = asArray(node).map(asString)
  if (patterns.length > 0 && patterns.every(pattern => pattern !== '')) return patterns
  throw mismatch(node, 'a list of patterns')
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 }

function asAge(node: JsonNode): number {
  const [, count, unit = ''] = /^([0-9]{1,9})([smhd])$/.exec(asString(node)) ?? []
  if (count === undefined) throw mismatch(node, 'an age such as "12h" or "30d"')
  return Number(count) * (units[unit] ?? 0)
}

function mustKnow(node: JsonNode, known: readonly string[]): void {
  for (const name of Object.keys(asObject(node))) {
    if (known.includes(name)) continue
    const path = node.path === '' ? name : `${node.path}.${name}`
    throw new OciError(
      'invalid',
      `Cannot parse retention rules: ${JSON.stringify(path)} is not known`,
      { hint: `Known here: ${known.join(', ')}` },
    )
  }
}
