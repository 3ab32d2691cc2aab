/** What `tsrun` does for an image that it has not: a program, so that its start counts. */
import { unpackImage } from '../../src/layerfs/image/unpack.ts'
import { openStore } from '../../src/layerfs/store.ts'
import { hostPlatform } from '../../src/oci/platform.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { createRegistryClient } from '../../src/registry/client/client.ts'
import { pullImage } from '../../src/registry/client/pull.ts'

const [root = '', name = ''] = process.argv.slice(2)
await using store = await openStore(root)
await using client = createRegistryClient({ userAgent: 'bench' })
const reference = parseReference(name)
const { descriptor } = await pullImage(client, reference, {
  platform: hostPlatform(process.arch),
  into: store.content,
  layers: 'all',
  use: ({ manifest, config, ...ways }) => unpackImage({ manifest, config }, store, ways),
})
await store.images.set({ reference, target: descriptor })
