// Commits a number of blobs of 1 MiB each, saying the digest of each once it is committed.
// The bytes follow from the number alone, so that several processes commit the same ones.
import { createHash } from 'node:crypto'

const [dist, root, count, seed = '0'] = process.argv.slice(2)
const { openContentStore } = await import(`${dist}/layerfs/content/directory-store.js`)
const { putBlob } = await import(`${dist}/layerfs/content/content-store.js`)

function* chunksOf(number) {
  for (let i = 0; i < 256; i++) {
    const line = createHash('sha256').update(`${seed} ${number} ${i}`).digest()
    yield Buffer.alloc(4096, line)
  }
}

const store = openContentStore(root)
console.log('started')
for (let number = 0; number < Number(count); number++) {
  console.log((await putBlob(store, chunksOf(number))).digest)
}
