// Imports an archive of one image into a store and unpacks it, saying the chain ID.
import { createReadStream } from 'node:fs'

const [dist, root, archive] = process.argv.slice(2)
const { openStore } = await import(`${dist}/layerfs/store.js`)
const { importArchive } = await import(`${dist}/layerfs/image/import-image.js`)
const { unpackImage } = await import(`${dist}/layerfs/image/unpack.js`)
const { parseManifest } = await import(`${dist}/oci/manifest.js`)
const { parseImageConfig } = await import(`${dist}/oci/image-config.js`)

const store = await openStore(root)
console.log('opened')
const [{ target }] = await importArchive(createReadStream(archive), store.content)
const manifest = parseManifest(await store.content.read(target.digest), target.mediaType).value
const config = parseImageConfig(await store.content.read(manifest.config.digest)).value
console.log('imported')
console.log(await unpackImage({ manifest, config }, store))
await store[Symbol.asyncDispose]()
