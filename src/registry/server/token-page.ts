/** `/token`: what the access control answers, as a page of the server. */
import { OciError } from '../../oci/errors.ts'
import { ResourceError } from '../storage/resource-error.ts'
import type { TokenRequest } from './access/access.ts'
import type { Registry } from './dispatch.ts'
import type { Reply } from './exchange.ts'
import { arrive, mustBeOpen, noteRefusal } from './limits/limits.ts'
import { isInternal, replyToError } from './reply.ts'

export const tokenPath = '/token'

/** Never throws. */
export async function answerTokenRequest(
  registry: Registry,
  request: TokenRequest,
): Promise<Reply> {
  try {
    mustBeOpen(registry.limits)
    arrive(registry.limits, request)
    const reply = await registry.access.issueToken(request)
    if (reply !== undefined) return reply
    throw new ResourceError('not-found endpoint', `Cannot find "${tokenPath}"`)
  } catch (error) {
    noteRefusal(registry.limits, error)
    if (isInternal(error)) registry.onError(error)
    return replyToError(error, undefined)
  }
}

/** A token and a few scopes fit many times. */
const maxFormBytes = 64 * 1024

/** Throws `invalid` for one that is too large, and for another type of body. */
export async function readForm(
  type: string | undefined,
  body: AsyncIterable<Uint8Array>,
): Promise<URLSearchParams> {
  if (type?.split(';', 1)[0]?.trim().toLowerCase() !== 'application/x-www-form-urlencoded') {
    throw new OciError('invalid', 'Cannot read form: expected application/x-www-form-urlencoded')
  }
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxFormBytes) {
      throw new OciError('invalid', `Cannot read form: more than ${maxFormBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
}
