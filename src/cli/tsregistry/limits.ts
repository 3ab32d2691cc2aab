/** What clients may have, as flags and `config.yml` say it: rates, quotas, and a time of maintenance. */
import { OciError, printable } from '../../oci/errors.ts'
import type { Limits } from '../../registry/server/limits/limits.ts'
import type { Maintenance } from '../../registry/server/limits/maintenance.ts'
import { usageReader } from '../../registry/server/limits/quota-usage.ts'
import { type QuotaRule, Quotas } from '../../registry/server/limits/quotas.ts'
import {
  RateLimits,
  type RateRule,
  ratedActions,
  ratedSubjects,
} from '../../registry/server/limits/rate-limits.ts'
import type { Metrics } from '../../registry/server/operation/metrics.ts'
import type { RegistryStorage } from '../../registry/storage/registry-storage.ts'
import { parseAs, parseDuration, parseSize } from '../flags/flag-values.ts'
import type { FlagValues } from '../flags/flags.ts'

export const limitFlags = {
  'rate-limit': {
    kind: 'strings',
    value: 'RULE',
    help: 'How often clients may ask: "pull 200/6h per client", "push 60/1m per user in team/**"',
  },
  quota: {
    kind: 'strings',
    value: 'RULE',
    help: 'What repositories may hold: "50GB in team/**", "10GB per repository in **"',
  },
  maintenance: {
    kind: 'boolean',
    help: 'Answer everything with 503 and the message of --maintenance-message',
  },
  'maintenance-message': {
    kind: 'string',
    value: 'TEXT',
    help: 'What clients are told then',
    default: 'The registry is being maintained: try again later',
  },
  'maintenance-retry-after': {
    kind: 'duration',
    value: 'TIME',
    help: 'When they are told to come again',
    default: 60_000,
  },
} as const

type LimitFlagValues = FlagValues<typeof limitFlags>

export interface LimitRules {
  readonly rates: readonly RateRule[]
  readonly quotas: readonly QuotaRule[]
  readonly maintenance: Maintenance | undefined
}

/** Throws usage errors that quote the rule. */
export function readLimits(flags: LimitFlagValues): LimitRules {
  const message = flags['maintenance-message']
  const retryAfterS = Math.ceil(flags['maintenance-retry-after'] / 1000)
  return {
    rates: flags['rate-limit'].map(text => parseAs('flag --rate-limit', () => parseRate(text))),
    quotas: flags.quota.map(text => parseAs('flag --quota', () => parseQuota(text))),
    maintenance: flags.maintenance ? { message, retryAfterS } : undefined,
  }
}

/** Throws `invalid`. */
export function parseRate(text: string): RateRule {
  const words =
    /^(\w+) (\d{1,9})\/(\S+) per (\w+)(?: in (\S+))?$/.exec(text.trim().replace(/\s+/g, ' ')) ?? []
  const [, verb, count, time = '', subject, pattern] = words
  const action = ratedActions.find(each => each === verb)
  const per = ratedSubjects.find(each => each === subject)
  const windowMs = durationOf(time)
  if (action === undefined || per === undefined || !(windowMs > 0) || Number(count) < 1) {
    const known = `${ratedActions.join(', ')}; ${ratedSubjects.join(', ')}`
    throw new OciError(
      'invalid',
      `expected a rule such as "pull 200/6h per client in library/**" (${known}), got "${printable(text, 80)}"`,
    )
  }
  const where = pattern === undefined ? {} : { pattern }
  return { action, count: Number(count), windowMs, per, ...where, text: text.trim() }
}

/** `6h`, and `h` for one of them. */
function durationOf(text: string): number {
  try {
    return parseDuration(/^[a-z]+$/.test(text) ? `1${text}` : text)
  } catch {
    return 0
  }
}

/** Throws `invalid`. */
export function parseQuota(text: string): QuotaRule {
  const words = /^(\S+)( per repository)? in (\S+)$/.exec(text.trim().replace(/\s+/g, ' ')) ?? []
  const [, size = '', each, pattern] = words
  if (pattern === undefined) {
    throw new OciError(
      'invalid',
      `expected a rule such as "50GB in team/**" or "10GB per repository in **", got "${printable(text, 80)}"`,
    )
  }
  return { bytes: parseSize(size), isEach: each !== undefined, pattern, text: text.trim() }
}

export interface LiveLimits extends Limits {
  use(rules: LimitRules): void
}

export interface LimitParts {
  readonly storage: RegistryStorage
  readonly metrics: Metrics | undefined
}

export function openLimits(rules: LimitRules, { storage, metrics }: LimitParts): LiveLimits {
  const rates = new RateLimits(rules.rates)
  const quotas = new Quotas(usageReader(storage), rules.quotas)
  let { maintenance } = rules
  return {
    rates,
    quotas,
    maintenance: () => maintenance,
    onRefused: (kind, rule) => metrics?.refused(kind, rule),
    use: next => {
      rates.use(next.rates)
      quotas.use(next.quotas)
      maintenance = next.maintenance
    },
  }
}
