/**
 * Keys in the order of their bytes. A bucket gives a page per request; what a server gets wrong, as
 * the probe found, is made right here, at the price of reading the whole prefix.
 */
import type { ListPage } from '../object-store.ts'
import { retrying } from './retries.ts'
import type { S3Client } from './s3-client.ts'
import { keyIn } from './s3-client.ts'
import { readText } from './s3-failure.ts'

/**
 * `ordered`: in the order of bytes, and from any key on. `unordered`: in another order, or
 * `start-after` is not understood.
 */
export type Listing = 'ordered' | 'unordered'

/** What every server gives at once. */
const maxKeys = 1000

export async function listKeys(
  { client, listing }: { readonly client: S3Client; readonly listing: Listing },
  prefix: string,
  page: ListPage,
): Promise<readonly string[]> {
  const { startAfter, max } = page
  if (max <= 0) return []
  if (listing === 'ordered') {
    const query = startAfter === undefined ? {} : { startAfter }
    return take(pagesOf(client, { prefix, ...query, max }), max)
  }
  const keys = await take(pagesOf(client, { prefix, max: maxKeys }), Number.POSITIVE_INFINITY)
  const after = startAfter === undefined ? keys : keys.filter(key => key > startAfter)
  return after.sort().slice(0, max)
}

interface Wanted {
  readonly prefix: string
  readonly startAfter?: string
  readonly max: number
}

/** Each page is one request, and the next is made only when it is wanted. */
async function* pagesOf(
  client: S3Client,
  { prefix, startAfter, max }: Wanted,
): AsyncGenerator<string[]> {
  let token: string | undefined
  do {
    const page = await readPage(client, {
      'list-type': '2',
      'encoding-type': 'url',
      prefix: keyIn(client.options, prefix),
      'max-keys': String(Math.min(max, maxKeys)),
      ...(token === undefined ? {} : { 'continuation-token': token }),
      ...(startAfter === undefined ? {} : { 'start-after': keyIn(client.options, startAfter) }),
    })
    yield page.keys
    token = page.token
  } while (token !== undefined)
}

async function take(pages: AsyncIterable<string[]>, max: number): Promise<string[]> {
  const keys: string[] = []
  for await (const page of pages) {
    for (const key of page) keys.push(key)
    if (keys.length >= max) return keys.slice(0, max)
  }
  return keys
}

interface Page {
  readonly keys: string[]
  readonly token: string | undefined
}

function readPage(client: S3Client, query: Readonly<Record<string, string>>): Promise<Page> {
  return retrying(`Cannot list objects under "${query['prefix']}"`, async () => {
    const document = await readText(await client.send({ method: 'GET', query }))
    mustBeWhole(document, 'ListBucketResult')
    const isTruncated = firstElement(document, 'IsTruncated') === 'true'
    const token = firstElement(document, 'NextContinuationToken')
    if (isTruncated && token === undefined) throw new Error('The storage named no next page')
    const skip = keyIn(client.options, '').length
    return {
      keys: elements(document, 'Key').map(key => decodeKey(key).slice(skip)),
      token: isTruncated ? token : undefined,
    }
  })
}

/**
 * Throws when something else was answered, or the end is missing: whoever takes a part of a list for
 * all of it removes what is in use.
 */
export function mustBeWhole(document: string, element: string): void {
  if (document.trimEnd().endsWith(`</${element}>`)) return
  if (new RegExp(`<${element}\\b[^>]*/>\\s*$`).test(document)) return
  throw new Error(`The storage answered with something else than "${element}"`)
}

/** Of documents that have the element once, or of which the first is meant. */
export function firstElement(document: string, name: string): string | undefined {
  return elements(document, name)[0]
}

/** The texts of all elements of a name, which hold no elements themselves. */
export function elements(document: string, name: string): string[] {
  const found: string[] = []
  const open = `<${name}>`
  const close = `</${name}>`
  for (let at = document.indexOf(open); at !== -1; at = document.indexOf(open, at)) {
    const start = at + open.length
    const end = document.indexOf(close, start)
    if (end === -1) return found
    found.push(withoutEntities(document.slice(start, end)))
    at = end
  }
  return found
}

const entities: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#34;': '"',
  '&apos;': "'",
  '&#39;': "'",
  '&amp;': '&',
}

function withoutEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(?:lt|gt|quot|apos|amp|#34|#39);/g, entity => entities[entity] ?? entity)
}

/** As `encoding-type=url` has it; our keys hold no `%`, so a server that does not encode is fine. */
function decodeKey(key: string): string {
  return key.includes('%') ? decodeURIComponent(key) : key
}
