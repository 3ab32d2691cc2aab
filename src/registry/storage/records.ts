/** Small JSON objects: how they are written, and read back with suspicion. */
import type { ObjectReader } from './object-store.ts'

export interface StoredRecord {
  readonly value: Readonly<Record<string, unknown>>
  readonly etag: string
}

export function encodeRecord(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

/**
 * `undefined` when there is none, and also when it is empty or no record: a disk that filled up or
 * rots, or a crash of the machine below us, can leave that. What is not there is pushed again, and
 * so repaired.
 */
export async function readRecord(
  objects: ObjectReader,
  key: string,
): Promise<StoredRecord | undefined> {
  const object = await objects.get(key)
  const value = object === undefined ? undefined : decodeRecord(object.bytes)
  return object === undefined || value === undefined ? undefined : { value, etag: object.etag }
}

/** `undefined` when the bytes are no JSON object. */
export function decodeRecord(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
