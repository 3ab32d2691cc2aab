// Commits a chain of packed layers of two files each, and asks for the directory of each: says the
// name of each once it is there.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'

const [dist, root, count, seed = '0'] = process.argv.slice(2)
const { openSnapshotter } = await import(`${dist}/layerfs/snapshot/overlay.js`)
const { contentPadding, encodeEntry, endOfArchive } = await import(`${dist}/layerfs/tar/writer.js`)
const { chainId } = await import(`${dist}/oci/digest.js`)

const content = Buffer.alloc(10_000, 'x')

function fileOf(path, seconds) {
  const header = encodeEntry({
    ...{ type: 'file', path: Buffer.from(path), linkPath: Buffer.alloc(0), mode: 0o644 },
    ...{ uid: 0, gid: 0, size: content.length, mtime: { seconds, nanoseconds: 0 } },
    ...{ devMajor: 0, devMinor: 0, xattrs: [] },
  })
  return Buffer.concat([header, content, contentPadding(content.length)])
}

const snapshots = openSnapshotter(root)
console.log('started')
let parent
for (let number = 0; number < Number(count); number++) {
  const time = Number(seed) * 10_000 + number
  const tar = Buffer.concat([fileOf('first', time), fileOf('second', time), endOfArchive()])
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`
  const name = chainId(parent, diffId)
  const packed = await snapshots.stagePacked()
  writeFileSync(packed.tar, tar)
  await snapshots.commit(packed, { name, diffId, ...(parent === undefined ? {} : { parent }) })
  await snapshots.layers(name)
  console.log(name)
  parent = name
}
