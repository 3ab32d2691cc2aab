/** A thread of the unpack pool: one job at a time, until the pool ends it. */
import { parentPort } from 'node:worker_threads'
import { runUnpackJob, type UnpackJob } from './unpack-job.ts'

const port = parentPort
if (port === null) throw new Error('unpack-worker runs as a worker thread only')

port.on('message', async (job: UnpackJob) => {
  port.postMessage(await runUnpackJob(job))
})
