/**
 * The signature of a GET or HEAD, Version 4. The `minio` client signs everything else; for each request it
 * makes the day's key anew, and several objects, which is half of what a small GET costs (measured).
 * Spec: AWS Signature Version 4, signing with an Authorization header.
 */
import { createHmac, hash } from 'node:crypto'
import type { S3Credentials } from './s3-options.ts'

export interface GetToSign {
  readonly method: 'GET' | 'HEAD'
  readonly host: string
  /** As it is sent: percent-encoded. */
  readonly path: string
}

/** Signs, and returns the header's lines with their ends; the host's line is among them. */
export type SignGet = (get: GetToSign, credentials: S3Credentials, now: Date) => string

/** There is no body to sign, and a hash of none would say the same. */
const payload = 'UNSIGNED-PAYLOAD'

export function createGetSigner(region: string): SignGet {
  let key: { readonly of: string; readonly value: Buffer } | undefined
  const keyOf = (secret: string, day: string): Buffer => {
    const of = `${day} ${secret}`
    if (key?.of !== of) {
      const value = [day, region, 's3', 'aws4_request'].reduce(hmac, Buffer.from(`AWS4${secret}`))
      key = { of, value }
    }
    return key.value
  }
  return ({ method, host, path }, { accessKeyId, secretAccessKey, sessionToken }, now) => {
    const time = `${now.toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`
    const day = time.slice(0, 8)
    const headers = [
      ['host', host],
      ['x-amz-content-sha256', payload],
      ['x-amz-date', time],
      ...(sessionToken === undefined ? [] : [['x-amz-security-token', sessionToken]]),
    ]
    const lines = headers.map(([name, value]) => `${name}:${value}\n`).join('')
    const names = headers.map(([name]) => name).join(';')
    const scope = `${day}/${region}/s3/aws4_request`
    const canonical = `${method}\n${path}\n\n${lines}\n${names}\n${payload}`
    const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash('sha256', canonical)}`
    const signature = hmac(keyOf(secretAccessKey, day), text).toString('hex')
    const sent = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    return `${sent}authorization: AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}\r\n`
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
