/**
 * How much repositories may hold, by rules such as `50GB in team-a/**`.
 *
 * What there is is counted by looking at the storage, and what comes is added: nothing is written, so
 * nothing can be wrong after a crash, a restart or a collection.
 *
 * 1. Nobody is refused by an old count: it is taken anew before.
 * 2. Uploads at once in one process are added up before their bytes come, or as they come.
 * 3. What other processes stored is seen after {@link maxAgeMs} at the latest: so much can be more
 *    than the rule says.
 */
import type { RepositoryName } from '../../../oci/reference.ts'
import { matchesGlob } from '../../storage/glob.ts'
import { ResourceError } from '../../storage/resource-error.ts'
import type { UsageReader } from './quota-usage.ts'

export interface QuotaRule {
  readonly bytes: number
  /** Each repository by itself, or all of them together. */
  readonly isEach: boolean
  readonly pattern: string
  /** As it was written. */
  readonly text: string
}

/** 403, and what would have been too much. */
export class QuotaExceeded extends ResourceError {
  readonly rule: QuotaRule

  constructor(rule: QuotaRule, repository: string, used: number) {
    super(
      'denied quota',
      `Cannot store more in repository "${repository}": the quota is "${rule.text}", ${used} bytes are used`,
      { detail: { quota: rule.text, limit: rule.bytes, used } },
    )
    this.rule = rule
  }
}

/** What one request may still store. Disposing it gives back what it did not keep. */
export interface Room extends Disposable {
  /** Throws {@link QuotaExceeded}, before the bytes are stored. */
  take(bytes: number): Promise<void>
  /** As many as will come: what was announced is not counted again as it comes. */
  counted(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>
  /** What was taken is stored. */
  keep(): void
}

interface Scope {
  readonly rule: QuotaRule
  /** Bytes that were there at the last look, and that were stored here since. */
  used: number
  /** Of requests under way. */
  taken: number
  lookedAt: number
  looking: Promise<void> | undefined
}

const maxAgeMs = 60_000

/** A refusal goes by a count that is no older. */
const freshMs = 1000

const maxScopes = 10_000

export class Quotas {
  #rules: readonly QuotaRule[]
  readonly #usage: UsageReader
  readonly #scopes = new Map<string, Scope>()

  constructor(usage: UsageReader, rules: readonly QuotaRule[]) {
    this.#usage = usage
    this.#rules = rules
  }

  use(rules: readonly QuotaRule[]): void {
    this.#rules = rules
  }

  /** After a collection of garbage there may be less. */
  lookAgain(): void {
    for (const scope of this.#scopes.values()) scope.lookedAt = 0
  }

  /** Whether some rule is about it. */
  isLimited(repository: RepositoryName): boolean {
    return this.#rules.some(({ pattern }) => matchesGlob(pattern, repository))
  }

  /**
   * Room for a request that stores: `announced` bytes of it are taken at once. Throws
   * {@link QuotaExceeded} when there is not so much, and for one that begins an upload, none at all.
   */
  async enter(
    repository: RepositoryName,
    { announced, isBeginning }: { readonly announced: number; readonly isBeginning: boolean },
  ): Promise<Room> {
    const scopes = this.#scopesOf(repository)
    const taking = { bytes: 0 }
    const take = async (bytes: number) => {
      await this.#reserve(scopes, repository, bytes)
      taking.bytes += bytes
    }
    // Else an upload would begin whose first byte is refused.
    if (isBeginning) for (const scope of scopes) await this.#fit(scope, repository, { bytes: 1 })
    await take(announced)
    const release = () => {
      for (const scope of scopes) scope.taken -= taking.bytes
      taking.bytes = 0
    }
    const giveBack = () => {
      // Of an upload that broke off, what came is kept for the client to go on from.
      if (taking.bytes > 0) for (const scope of scopes) lookSoon(scope)
      release()
    }
    return {
      take,
      counted: body => (scopes.length === 0 ? body : countedBody(body, announced, take)),
      keep: () => {
        for (const scope of scopes) scope.used += taking.bytes
        release()
      },
      [Symbol.dispose]: giveBack,
    }
  }

  #scopesOf(repository: RepositoryName): readonly Scope[] {
    return this.#rules.flatMap(rule => {
      if (!matchesGlob(rule.pattern, repository)) return []
      const key = rule.isEach ? `${rule.text}\n${repository}` : rule.text
      const scope = this.#scopes.get(key) ?? newScope(rule)
      this.#scopes.delete(key)
      this.#scopes.set(key, scope)
      if (this.#scopes.size > maxScopes) this.#forgetOne()
      return [scope]
    })
  }

  /** One of those that were not used for longest, and that nobody is in. */
  #forgetOne(): void {
    for (const [key, scope] of this.#scopes) {
      if (scope.taken > 0) continue
      this.#scopes.delete(key)
      return
    }
  }

  /** In all of them or in none. */
  async #reserve(
    scopes: readonly Scope[],
    repository: RepositoryName,
    bytes: number,
  ): Promise<void> {
    const reserved: Scope[] = []
    try {
      for (const scope of scopes) {
        await this.#fit(scope, repository, { bytes, isTaken: true })
        reserved.push(scope)
      }
    } catch (error) {
      for (const scope of reserved) scope.taken -= bytes
      throw error
    }
  }

  /** What fits is taken in the same step: many wait for one look, and go on one after the other. */
  async #fit(
    scope: Scope,
    repository: RepositoryName,
    { bytes, isTaken = false }: { readonly bytes: number; readonly isTaken?: boolean },
  ): Promise<void> {
    for (const age of [maxAgeMs, freshMs]) {
      if (Date.now() - scope.lookedAt > age) await this.#look(scope, repository)
      if (scope.used + scope.taken + bytes > scope.rule.bytes) continue
      if (isTaken) scope.taken += bytes
      return
    }
    throw new QuotaExceeded(scope.rule, repository, scope.used + scope.taken)
  }

  /** Who comes while another looks waits for the same answer. */
  #look(scope: Scope, repository: RepositoryName): Promise<void> {
    const { pattern, isEach } = scope.rule
    scope.looking ??= (async () => {
      const before = scope.used
      const isMeant = isEach
        ? (name: string) => name === repository
        : (name: string) => matchesGlob(pattern, name)
      const used = await this.#usage.usedBy(isMeant, isEach ? repository : undefined)
      // What was stored meanwhile may be counted twice, until the next look; never not at all.
      scope.used = used + Math.max(0, scope.used - before)
      scope.lookedAt = Date.now()
    })().finally(() => {
      scope.looking = undefined
    })
    return scope.looking
  }
}

function lookSoon(scope: Scope): void {
  scope.lookedAt = Math.min(scope.lookedAt, Date.now() - maxAgeMs + 5000)
}

function newScope(rule: QuotaRule): Scope {
  return { rule, used: 0, taken: 0, lookedAt: 0, looking: undefined }
}

/** Chunks of a request that did not say its length are taken as they come. */
async function* countedBody(
  body: AsyncIterable<Uint8Array>,
  announced: number,
  take: (bytes: number) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  let seen = 0
  for await (const chunk of body) {
    const before = Math.max(seen, announced)
    seen += chunk.length
    if (seen > before) await take(seen - before)
    yield chunk
  }
}
