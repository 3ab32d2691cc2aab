/** The thread of {@link PasswordComparer}. */
import { parentPort } from 'node:worker_threads'
import { compareSync } from 'bcryptjs'
import type { ComparisonJob, ComparisonResult } from './compare-password.ts'

parentPort?.on('message', ({ id, password, hash }: ComparisonJob) => {
  const result: ComparisonResult = { id, isEqual: compareSync(password, hash) }
  parentPort?.postMessage(result)
})
