/** The helper of read-ahead.ts: one file at a time, until its thread ends it. */
import { createHash } from 'node:crypto'
import { readlinkSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { GzipFile } from '../compression/gzip-file.ts'
import { inflateWindow } from '../native/syscalls.ts'
import {
  failed,
  type LayerFile,
  type ReadAheadJob,
  type ReadAheadReply,
  Ring,
} from './read-ahead.ts'
import { failureOf } from './thread-failure.ts'

const port = parentPort
if (port === null) throw new Error('read-ahead-worker runs as a worker thread only')

port.on('message', (job: ReadAheadJob) => {
  port.postMessage(readAhead(job))
})
// Before any job: who waits for us can then see whether we live.
port.postMessage(readlinkSync('/proc/thread-self'))

function readAhead(job: ReadAheadJob): ReadAheadReply {
  const ring = new Ring(job.memory)
  const hash = createHash('sha256')
  const readInto = readerOf(job)
  let index = 0
  try {
    for (; ring.untilFree(index); index++) {
      const slot = ring.slot(index)
      const length = readInto(slot)
      if (length === 0) break
      // Before it is hashed: the other thread works on the bytes meanwhile.
      ring.fill(index, length)
      hash.update(slot.subarray(inflateWindow, inflateWindow + length))
    }
    ring.digest.set(hash.digest())
    ring.fill(index, 0)
    return {}
  } catch (error) {
    ring.fill(index, failed)
    return { failure: failureOf(error) }
  }
}

/** What puts the next bytes behind the window of a slot, and says how many. */
function readerOf({ fd, encoding }: LayerFile): (slot: Uint8Array) => number {
  if (encoding === 'gzip') {
    const file = new GzipFile(fd)
    return slot => file.read(slot)
  }
  let position = 0
  return slot => {
    const length = readSync(fd, slot, inflateWindow, slot.length - inflateWindow, position)
    position += length
    return length
  }
}
