/**
 * Bytes of an unfinished object that are too few for a part, as small objects of their own:
 *
 *   w/<key with "~" for "/">/<id>
 */
import { randomUUID } from 'node:crypto'
import { OciError } from '../../../oci/errors.ts'
import { retrying } from './retries.ts'
import type { S3Client } from './s3-client.ts'
import { isAbsence } from './s3-failure.ts'

export interface Piece {
  readonly key: string
  readonly size: number
}

export const piecesPrefix = 'w/'

/** The key of the object that a piece is of. */
export function keyOfPiece(piece: string): string {
  return piece.slice(piecesPrefix.length, piece.lastIndexOf('/')).replaceAll('~', '/')
}

export async function writePiece(client: S3Client, of: string, body: Buffer): Promise<Piece> {
  const key = `${piecesPrefix}${of.replaceAll('/', '~')}/${randomUUID()}`
  await retrying(`Cannot write object "${key}"`, () =>
    client.sendOnly({ method: 'PUT', key, body }),
  )
  return { key, size: body.length }
}

/** Throws `not-found` when it is gone, or not what it was. */
export function readPiece(client: S3Client, { key, size }: Piece): Promise<Buffer> {
  return retrying(`Cannot read object "${key}"`, async () => {
    try {
      const chunks: Buffer[] = []
      for await (const chunk of await client.send({ method: 'GET', key })) chunks.push(chunk)
      const bytes = Buffer.concat(chunks)
      if (bytes.length === size) return bytes
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
    throw new OciError('not-found', `Cannot continue object: its bytes in "${key}" are gone`)
  })
}

/** Those that are gone already are no error. */
export async function removePieces(client: S3Client, keys: readonly string[]): Promise<void> {
  const remove = async (key: string) => {
    try {
      await client.sendOnly({ method: 'DELETE', key })
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
  }
  for (const key of keys) await retrying(`Cannot delete object "${key}"`, () => remove(key))
}
