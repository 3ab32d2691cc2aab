/**
 * How often clients may ask, by rules such as `pull 200/6h per client`: a bucket of so many tokens
 * for each, that fills again over the time.
 *
 * 1. A request that is refused takes nothing from any bucket.
 * 2. The buckets are this process's: behind several replicas each counts for itself.
 * 3. There are at most {@link maxBuckets}: whoever was not seen for longest begins anew.
 */
import { LRUCache } from 'lru-cache'
import { matchesGlob } from '../../storage/glob.ts'
import { ResourceError } from '../../storage/resource-error.ts'

/** `pull`: of a manifest, as Docker Hub counts; `push`: the same; `request`: anything. */
export const ratedActions = ['request', 'pull', 'push', 'delete'] as const

export type RatedAction = (typeof ratedActions)[number]

export const ratedSubjects = ['client', 'user', 'repository'] as const

export interface RateRule {
  readonly action: RatedAction
  /** More than 0. */
  readonly count: number
  readonly windowMs: number
  /** `client`: an address, IPv6 by its network of 64 bits. Who has not logged in is a client. */
  readonly per: (typeof ratedSubjects)[number]
  /** Of repositories; absent: all, and what is of none. */
  readonly pattern?: string
  /** As it was written, for messages and metrics. */
  readonly text: string
}

export interface RatedRequest {
  readonly action: RatedAction | undefined
  readonly remote: string | undefined
  readonly repository: string | undefined
  /** Once it is known. */
  readonly user?: string | undefined
  /** Takes nothing, and is told how much is left. */
  readonly isFree?: boolean
}

/** 429, and when to come again. */
export class RateExceeded extends ResourceError {
  readonly rule: RateRule
  readonly retryAfterS: number

  constructor(rule: RateRule, waitMs: number) {
    const retryAfterS = Math.max(1, Math.ceil(waitMs / 1000))
    const message = `Cannot take more requests now: the limit is "${rule.text}"; try again in ${retryAfterS} s`
    super('unavailable client', message, { detail: { limit: rule.text, retryAfter: retryAfterS } })
    this.rule = rule
    this.retryAfterS = retryAfterS
  }
}

interface Bucket {
  tokens: number
  at: number
}

const maxBuckets = 100_000

export class RateLimits {
  #rules: readonly RateRule[]
  readonly #buckets = new LRUCache<string, Bucket>({ max: maxBuckets })
  readonly #now: () => number

  constructor(rules: readonly RateRule[], now: () => number = () => performance.now()) {
    this.#rules = rules
    this.#now = now
  }

  /** Buckets of rules that stay as they are keep what they have. */
  use(rules: readonly RateRule[]): void {
    this.#rules = rules
  }

  /** Before anybody logs in: what can be counted without knowing who it is. Throws RateExceeded. */
  arrive(request: Omit<RatedRequest, 'action' | 'user'>): void {
    this.#take(request, rule => rule.action === 'request' && rule.per !== 'user')
  }

  /** Once it is known who it is: the headers that tell how much is left. Throws RateExceeded. */
  admit(request: RatedRequest): Readonly<Record<string, string>> | undefined {
    const { action } = request
    const tightest = this.#take(request, rule =>
      rule.action === 'request' ? rule.per === 'user' : rule.action === action,
    )
    if (tightest === undefined || tightest.rule.action === 'request') return undefined
    const window = `;w=${Math.ceil(tightest.rule.windowMs / 1000)}`
    return {
      'RateLimit-Limit': tightest.rule.count + window,
      'RateLimit-Remaining': Math.floor(tightest.left) + window,
    }
  }

  #take(
    request: Omit<RatedRequest, 'action'>,
    isMeant: (rule: RateRule) => boolean,
  ): { readonly rule: RateRule; readonly left: number } | undefined {
    if (this.#rules.length === 0) return undefined
    const { isFree = false } = request
    const counted = this.#rules.flatMap(rule => {
      const key = isMeant(rule) ? keyOf(rule, request) : undefined
      return key === undefined ? [] : [{ rule, bucket: this.#bucket(rule, key) }]
    })
    if (!isFree) {
      const empty = counted.filter(({ bucket }) => bucket.tokens < 1)
      const waits = empty.map(({ rule, bucket }) => {
        return { rule, ms: ((1 - bucket.tokens) * rule.windowMs) / rule.count }
      })
      const longest = waits.toSorted((one, other) => other.ms - one.ms)[0]
      if (longest !== undefined) throw new RateExceeded(longest.rule, longest.ms)
      for (const { bucket } of counted) bucket.tokens--
    }
    const left = counted.map(({ rule, bucket }) => ({ rule, left: bucket.tokens }))
    return left.toSorted((one, other) => one.left - other.left)[0]
  }

  #bucket({ count, windowMs, text }: RateRule, who: string): Bucket {
    const key = `${text}\n${who}`
    const now = this.#now()
    const bucket = this.#buckets.get(key) ?? { tokens: count, at: now }
    bucket.tokens = Math.min(count, bucket.tokens + ((now - bucket.at) * count) / windowMs)
    bucket.at = now
    this.#buckets.set(key, bucket)
    return bucket
  }
}

/** Whose bucket it is; `undefined` when the rule is not about this request. */
function keyOf(
  { per, pattern }: RateRule,
  { remote, user, repository }: Omit<RatedRequest, 'action'>,
): string | undefined {
  if (pattern !== undefined && (repository === undefined || !matchesGlob(pattern, repository))) {
    return undefined
  }
  switch (per) {
    case 'repository':
      return repository
    case 'user':
      return user === undefined ? networkOf(remote) : `user ${user}`
    case 'client':
      return networkOf(remote)
  }
}

/** Whoever has one IPv6 address has 2^64. */
function networkOf(remote = ''): string {
  const address = remote.replace(/^::ffff:(?=[0-9.]+$)/, '').replace(/%.*$/, '')
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length)
  return [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4).join(':')
}
