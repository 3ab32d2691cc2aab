import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Store } from './workspace.ts'

/** The blobs of a store, manifests and configs too, that have `text` in them once gunzipped. */
export function blobsWith(store: Store, text: string): string[] {
  const directory = join(store.root, 'blobs/sha256')
  return readdirSync(directory).filter(name => {
    const bytes = readFileSync(join(directory, name))
    const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
    return (isGzip ? gunzipSync(bytes) : bytes).includes(text)
  })
}
