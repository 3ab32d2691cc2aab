// Commits a chain of snapshots of two files each, saying the name of each once it is committed.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const [dist, root, count, seed = '0'] = process.argv.slice(2)
const { openSnapshotter } = await import(`${dist}/layerfs/snapshot/overlay.js`)
const { chainId, digestOf } = await import(`${dist}/oci/digest.js`)

const snapshots = openSnapshotter(root)
console.log('started')
let parent
for (let number = 0; number < Number(count); number++) {
  const diffId = digestOf(`${seed} ${number}`)
  const name = chainId(parent, diffId)
  const active = await snapshots.stage()
  await writeFile(join(active.upper, 'first'), 'x'.repeat(10_000))
  await writeFile(join(active.upper, 'second'), 'x'.repeat(10_000))
  await snapshots.commit(active, { name, diffId, ...(parent === undefined ? {} : { parent }) })
  console.log(name)
  parent = name
}
