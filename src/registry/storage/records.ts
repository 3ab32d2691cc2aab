/** Small JSON objects: how they are written, and read back with suspicion. */
import { OciError } from '../../oci/errors.ts'
import type { ObjectReader } from './object-store.ts'

export interface StoredRecord {
  readonly value: Readonly<Record<string, unknown>>
  readonly etag: string
}

export function encodeRecord(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

/**
 * `undefined` when there is none, and also when it is empty: a disk that filled up, or a crash of
 * the machine below us, can leave that. Throws `unavailable` for anything else that is no record.
 */
export async function readRecord(
  objects: ObjectReader,
  key: string,
): Promise<StoredRecord | undefined> {
  const object = await objects.get(key)
  if (object === undefined || object.bytes.length === 0) return undefined
  return { value: decodeRecord(object.bytes, key), etag: object.etag }
}

export function decodeRecord(bytes: Uint8Array, key: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch (cause) {
    throw new OciError('unavailable', `Cannot read object "${key}": damaged`, { cause })
  }
  throw new OciError('unavailable', `Cannot read object "${key}": damaged`)
}
