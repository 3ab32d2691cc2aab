/** A bucket as an ObjectStore: connected, probed, and in single-writer mode kept for this process. */
import type { ObjectReader, ObjectStore } from '../object-store.ts'
import { PartMemory } from './part-memory.ts'
import { type Findings, probe } from './probe.ts'
import { createS3Client, type S3Client } from './s3-client.ts'
import { S3ObjectStore } from './s3-object-store.ts'
import type { S3Options } from './s3-options.ts'
import { SingleWriterStore, takeWriterLease } from './single-writer.ts'

export interface OpenS3ObjectStore extends AsyncDisposable {
  readonly objects: ObjectStore
  readonly findings: Findings
  /** Whether no other process can be writing, where only one may. */
  readonly mayWrite: () => boolean
}

/**
 * Throws `unavailable` when the bucket cannot be reached or used, and `conflict` when only one
 * process may write and another does.
 */
export async function openS3ObjectStore(options: S3Options): Promise<OpenS3ObjectStore> {
  const client = await createS3Client(options)
  try {
    const findings = await probe(client)
    return await openAs(client, findings)
  } catch (error) {
    client.close()
    throw error
  }
}

export interface OpenS3Reader extends AsyncDisposable {
  readonly objects: ObjectReader
}

/** To read what somebody else stored: nothing is written, so what the server decides is not asked. */
export async function openS3Reader(options: S3Options): Promise<OpenS3Reader> {
  const client = await createS3Client(options)
  const memory = new PartMemory(0)
  return {
    objects: new S3ObjectStore({ client, listing: 'ordered', memory, hasConditions: false }),
    [Symbol.asyncDispose]: async () => client.close(),
  }
}

async function openAs(client: S3Client, findings: Findings): Promise<OpenS3ObjectStore> {
  const { mode, listing } = findings
  const memory = new PartMemory(client.options.memory)
  const bucket = new S3ObjectStore({ client, listing, memory, hasConditions: mode === 'full' })
  if (mode === 'full') {
    return {
      objects: bucket,
      findings,
      mayWrite: () => true,
      [Symbol.asyncDispose]: async () => client.close(),
    }
  }
  const lease = await takeWriterLease(client, bucket)
  return {
    objects: new SingleWriterStore(bucket, lease),
    findings,
    mayWrite: () => lease.isHeld(),
    [Symbol.asyncDispose]: async () => {
      await lease[Symbol.asyncDispose]()
      client.close()
    },
  }
}
