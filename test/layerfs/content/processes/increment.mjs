// Reads, increments and writes back a counter, under a lock, a number of times.
import { readFile, writeFile } from 'node:fs/promises'

const [dist, lock, counter, times] = process.argv.slice(2)
const { withLock } = await import(`${dist}/layerfs/content/file-lock.js`)
for (let i = 0; i < Number(times); i++) {
  await withLock(lock, 'exclusive', async () => {
    await writeFile(counter, String(Number(await readFile(counter, 'utf8')) + 1))
  })
}
