/** A small document from an address of the configuration: no redirects, little time, few bytes. */
import { ask, readAnswer } from '../../client/exchange.ts'
import { createRoutes } from '../../client/routes.ts'

const maxBytes = 256 * 1024
const maxMs = 5000

/** Throws when it is not had whole, with status 200. */
export async function fetchDocument(url: URL): Promise<string> {
  const routes = createRoutes({ connectionsPerHost: 1, connectMs: maxMs })
  try {
    const answer = await ask(await routes.routeFor(url), {
      url,
      method: 'GET',
      headers: { accept: 'application/json' },
      body: undefined,
      headersMs: maxMs,
      signal: AbortSignal.timeout(maxMs),
    })
    const { statusCode } = answer.message
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of readAnswer(answer, maxMs)) {
      size += chunk.length
      // Leaving the loop closes the connection.
      if (statusCode !== 200 || size > maxBytes) break
      chunks.push(chunk)
    }
    if (statusCode !== 200 || size > maxBytes) {
      throw new Error(`Cannot use ${url.href}: status ${statusCode}, ${size} bytes`)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    routes.close()
  }
}

/** Keys that come over a network that others share would let them make tokens. */
export function isSafeAddress({ protocol, hostname }: URL): boolean {
  const isLocal = ['localhost', '[::1]'].includes(hostname) || hostname.startsWith('127.')
  return protocol === 'https:' || (protocol === 'http:' && isLocal)
}

/** As {@link isSafeAddress}, of what a document names: one from elsewhere leads to nothing of this machine. */
export function isSafeFrom(document: URL, address: URL): boolean {
  return isSafeAddress(address) && (address.protocol === 'https:' || document.protocol === 'http:')
}
