/** A thread of the unpack pool: one job at a time, until the pool ends it. */
import { parentPort, workerData } from 'node:worker_threads'
import { setOverlayUse } from './overlay-use.ts'
import { runUnpackJob, type UnpackJob } from './unpack-job.ts'

const port = parentPort
if (port === null) throw new Error('unpack-worker runs as a worker thread only')

setOverlayUse(workerData)

port.on('message', async (job: UnpackJob) => {
  port.postMessage(await runUnpackJob(job))
})
