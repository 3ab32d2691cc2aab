// Downloads a blob of known bytes, saying first how many of them were there, or that all were.
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'

const [dist, root, size, pace] = process.argv.slice(2)
const { openContentStore } = await import(`${dist}/layerfs/content/directory-store.js`)

const bytes = Buffer.alloc(Number(size), 'twenty bytes at most')
const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const download = await openContentStore(root).download({ digest, size: bytes.length })
console.log(download?.received ?? 'there')
if (download !== undefined) {
  for (let start = download.received; start < bytes.length; start += 100_000) {
    await download.write(bytes.subarray(start, start + 100_000))
    if (pace === 'slow') await pause(1)
  }
  await download.commit()
}
