/** Lists a page at a time: `n`, `last` and the `Link` to the next page. Spec: Listing Tags. */
import { ResourceError } from '../storage/resource-error.ts'
import { single } from './exchange.ts'

export interface PageRequest {
  /** How many are wanted, never more than the registry gives at once. */
  readonly size: number
  /** The last entry of the page before; empty for the first page. */
  readonly last: string
}

/** With the one more that is asked for, what a bucket lists at once. */
const maxPageSize = 999

/** Throws `invalid` of the page when `n` is no whole number. */
export function pageRequest(query: URLSearchParams): PageRequest {
  const n = single(query, 'n')
  if (n !== undefined && !/^[0-9]{1,20}$/.test(n)) {
    throw new ResourceError('invalid page', 'Cannot list: "n" must be a whole number', {
      detail: { n: n.slice(0, 40) },
    })
  }
  const size = n === undefined ? maxPageSize : Math.min(Number(n), maxPageSize)
  return { size, last: single(query, 'last') ?? '' }
}

export interface Page<T> {
  readonly entries: readonly T[]
  readonly more: boolean
}

/** A page, from a function that lists up to `max` entries: one more than wanted tells if there are more. */
export async function pageOf<T>(
  request: PageRequest,
  list: (max: number) => Promise<readonly T[]>,
): Promise<Page<T>> {
  if (request.size === 0) return { entries: [], more: false }
  const found = await list(request.size + 1)
  return { entries: found.slice(0, request.size), more: found.length > request.size }
}

/** The `Link` header to the page after `last`. The path is relative, so no host is reflected. */
export function nextLink(path: string, parameters: Readonly<Record<string, string>>): string {
  return `<${path}?${new URLSearchParams(parameters)}>; rel="next"`
}
