import { join } from 'node:path'
import { makeDirectory } from '../layerfs/content/atomic-file.ts'
import type { Store } from '../layerfs/store.ts'

/** What `FROM scratch` looks like to whoever reads it. */
export function emptyDirectory({ stubs }: Pick<Store, 'stubs'>): string {
  const path = join(stubs, 'empty')
  makeDirectory(path, 0o755)
  return path
}
