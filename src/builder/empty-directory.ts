import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Store } from '../layerfs/store.ts'

/** What `FROM scratch` looks like to whoever reads it. */
export async function emptyDirectory({ stubs }: Pick<Store, 'stubs'>): Promise<string> {
  const path = join(stubs, 'empty')
  await mkdir(path, { recursive: true, mode: 0o755 })
  return path
}
