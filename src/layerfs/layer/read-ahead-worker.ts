/** The helper of read-ahead.ts: one file at a time, until its thread ends it. */
import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { failed, type ReadAheadJob, Ring } from './read-ahead.ts'

const port = parentPort
if (port === null) throw new Error('read-ahead-worker runs as a worker thread only')

port.on('message', (job: ReadAheadJob) => {
  readAhead(job)
  port.postMessage('done')
})

function readAhead({ fd, memory }: ReadAheadJob): void {
  const ring = new Ring(memory)
  const hash = createHash('sha256')
  for (let index = 0, position = 0; ring.untilFree(index); index++) {
    const length = readInto(ring.slot(index), { fd, position })
    // Before it is hashed: the other thread works on the bytes meanwhile.
    if (length !== 0) ring.fill(index, length)
    if (length === failed) return
    if (length === 0) {
      ring.digest.set(hash.digest())
      ring.fill(index, 0)
      return
    }
    hash.update(ring.slot(index).subarray(0, length))
    position += length
  }
}

function readInto(
  slot: Uint8Array,
  { fd, position }: { readonly fd: number; readonly position: number },
): number {
  try {
    return readSync(fd, slot, 0, slot.length, position)
  } catch {
    return failed
  }
}
