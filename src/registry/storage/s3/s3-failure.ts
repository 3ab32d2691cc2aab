/** What an S3 server says when it does not do what was asked, and what that means for a retry. */
import type { IncomingMessage } from 'node:http'

/** An answer that is not the one wanted. */
export class S3Failure extends Error {
  override readonly name = 'S3Failure'
  readonly status: number
  /** Such as `NoSuchKey`; empty when the server gave none. */
  readonly s3Code: string
  /** Where the bucket is, when the server said that it is elsewhere. */
  region: string | undefined

  constructor(status: number, s3Code: string, what: string) {
    super(`${what}: the storage answered ${status}${s3Code === '' ? '' : ` ${s3Code}`}`)
    this.status = status
    this.s3Code = s3Code
  }
}

/** Bodies of answers that carry no object: errors and lists. */
const maxBody = 16 * 1024 * 1024

/** Throws when the body is torn, or larger than any list is. */
export async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBody) throw new Error('The storage answered with more than 16 MiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

export async function failureFrom(response: IncomingMessage, what: string): Promise<S3Failure> {
  const document = await readText(response)
  const named = response.headers['x-amz-bucket-region']
  const region = /<Region>([a-z0-9-]{1,40})<\/Region>/.exec(document)?.[1]
  const failure = new S3Failure(response.statusCode ?? 0, codeIn(document), what)
  failure.region = typeof named === 'string' && /^[a-z0-9-]{1,40}$/.test(named) ? named : region
  return failure
}

/** The code of an error document; also of one that came with status 200. */
export function codeIn(document: string): string {
  if (!document.includes('<Error>')) return ''
  return /<Code>([A-Za-z0-9.]{1,100})<\/Code>/.exec(document)?.[1] ?? ''
}

/** What a 404 may lack that is not the object. The second is versitygw's, of an access key. */
const otherAbsences: ReadonlySet<string> = new Set(['NoSuchBucket', 'XAdminUserNotFound'])

/** Whether a 404 with this code says that there is no such object. */
export function isOfObject(s3Code: string): boolean {
  return !otherAbsences.has(s3Code)
}

export function isAbsence(error: unknown): boolean {
  return error instanceof S3Failure && error.status === 404 && isOfObject(error.s3Code)
}

/** 404 is here too: a condition on an object that is gone fails so on some servers. */
export function isConditionFailure(error: unknown): boolean {
  return error instanceof S3Failure && (error.status === 412 || isAbsence(error))
}

const passing = ['ConditionalRequestConflict', 'OperationAborted', 'RequestTimeout', 'SlowDown']

const passingStatus = [408, 409, 429, 500, 502, 503, 504, 520]

/** What Node says of a server's certificate that is not accepted; `undefined` for anything else. */
export function untrustedReason(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^(?:CERT_|ERR_TLS_CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(code)
    ? code
    : undefined
}

/** Whether the same request may succeed a moment later. The system's errors are of connections. */
export function isPassing(error: unknown): boolean {
  if (error instanceof S3Failure) {
    return passing.includes(error.s3Code) || passingStatus.includes(error.status)
  }
  if (untrustedReason(error) !== undefined) return false
  return error instanceof Error && error.name !== 'AbortError'
}
