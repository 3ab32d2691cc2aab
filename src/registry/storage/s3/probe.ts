/**
 * What a server can do, found by asking it: what products say of themselves differs by version.
 *
 * `full`: the server decides conditions, so any number of processes may write. `single-writer`: it
 * does not, or not all of them, and one process decides.
 */
import { randomUUID } from 'node:crypto'
import { hasCode, OciError } from '../../../oci/errors.ts'
import type { Listing } from './listing.ts'
import { beginMultipart, completeMultipart, uploadPart } from './multipart.ts'
import { PartMemory } from './part-memory.ts'
import { removePieces } from './pieces.ts'
import type { S3Client } from './s3-client.ts'
import { S3ObjectStore } from './s3-object-store.ts'

export type S3Mode = 'full' | 'single-writer'

export interface Findings {
  readonly mode: S3Mode
  readonly listing: Listing
  /** What the server does not do, in words. */
  readonly lacks: readonly string[]
}

/** Throws `unavailable` when the bucket cannot be used at all, `unsupported` for what nobody can do without. */
export async function probe(client: S3Client): Promise<Findings> {
  const trial: Trial = {
    client,
    objects: new S3ObjectStore({
      client,
      listing: 'ordered',
      memory: new PartMemory(0),
      hasConditions: true,
    }),
    prefix: `g/probe/${randomUUID()}/`,
    keys: [],
  }
  await mustKeepBytes(trial)
  const [lacks, isOrdered] = await Promise.all([missingConditions(trial), listsInOrder(trial)])
  // What stays behind after a failure is a few bytes; why it failed is what the operator must hear.
  await removePieces(client, trial.keys).catch(() => {})
  return {
    mode: lacks.length === 0 ? 'full' : 'single-writer',
    listing: isOrdered ? 'ordered' : 'unordered',
    lacks: isOrdered ? lacks : [...lacks, 'listing in the order of bytes after any key'],
  }
}

interface Trial {
  readonly client: S3Client
  readonly objects: S3ObjectStore
  readonly prefix: string
  /** To be removed in the end. */
  readonly keys: string[]
}

function newKey(trial: Trial, name: string): string {
  const key = trial.prefix + name
  trial.keys.push(key)
  return key
}

async function mustKeepBytes(trial: Trial): Promise<void> {
  const key = newKey(trial, 'bytes')
  await trial.objects.put(key, Buffer.from('0123456789'))
  const chunks: Uint8Array[] = []
  for await (const chunk of await trial.objects.open(key, { start: 3, end: 6 })) chunks.push(chunk)
  const whole = await trial.objects.get(key)
  const isWhole = Buffer.from(whole?.bytes ?? []).toString() === '0123456789'
  if (isWhole && Buffer.concat(chunks).toString() === '345') return
  throw new OciError('unsupported', 'Cannot use storage: it does not give back what was written', {
    hint: 'Reads after writes and ranges are needed',
  })
}

const conditions: readonly (readonly [what: string, holds: (trial: Trial) => Promise<boolean>])[] =
  [
    ['PUT If-None-Match', createsOnce],
    ['PUT If-Match', replacesWhatItKnows],
    ['DELETE If-Match', deletesWhatItKnows],
    ['CompleteMultipartUpload If-None-Match', completesOnce],
  ]

async function missingConditions(trial: Trial): Promise<string[]> {
  const held = await Promise.all(conditions.map(([, holds]) => holds(trial)))
  return conditions.flatMap(([what], i) => (held[i] === true ? [] : [what]))
}

/** At once: a server that looks and then writes lets several through. */
async function createsOnce(trial: Trial): Promise<boolean> {
  const key = newKey(trial, 'created')
  const condition = { kind: 'absent' } as const
  const tries = Array.from({ length: 8 }, (_, i) =>
    succeeds(trial.objects.put(key, Buffer.from(`${i}`), { condition })),
  )
  return (await Promise.all(tries)).filter(Boolean).length === 1
}

async function replacesWhatItKnows(trial: Trial): Promise<boolean> {
  const key = newKey(trial, 'replaced')
  const etag = await trial.objects.put(key, Buffer.from('one'))
  const condition = { kind: 'matches', etag } as const
  const tries = Array.from({ length: 8 }, (_, i) =>
    succeeds(trial.objects.put(key, Buffer.from(`two ${i}`), { condition })),
  )
  if ((await Promise.all(tries)).filter(Boolean).length !== 1) return false
  return !(await succeeds(trial.objects.put(newKey(trial, 'none'), Buffer.from(''), { condition })))
}

async function deletesWhatItKnows(trial: Trial): Promise<boolean> {
  const key = newKey(trial, 'deleted')
  const etag = await trial.objects.put(key, Buffer.from('one'))
  await trial.objects.put(key, Buffer.from('two'))
  const condition = { kind: 'matches', etag } as const
  if (await succeeds(trial.objects.delete(key, { condition }))) return false
  return (await trial.objects.size(key)) === 3
}

async function completesOnce(trial: Trial): Promise<boolean> {
  const key = newKey(trial, 'completed')
  // Others each time: after an answer that was lost, whose object it is is told by its bytes.
  const complete = async (text: string) => {
    const multipart = await beginMultipart(trial.client, key)
    const part = await uploadPart(trial.client, multipart, { index: 0, body: Buffer.from(text) })
    await completeMultipart(trial.client, multipart, { parts: [part], isConditional: true })
  }
  return (await succeeds(complete('one'))) && !(await succeeds(complete('two')))
}

/** A server that does not know a condition may also refuse it by name. */
async function succeeds(writing: Promise<unknown>): Promise<boolean> {
  try {
    await writing
    return true
  } catch (error) {
    if (hasCode(error, 'conflict') || isNotImplemented(error)) return false
    throw error
  }
}

function isNotImplemented(error: unknown): boolean {
  const { cause } = error as { readonly cause?: { readonly status?: unknown } }
  return cause?.status === 501 || cause?.status === 400
}

/** `-` `.` `/` `0` are neighbours, and a directory's name is none of them. */
async function listsInOrder(trial: Trial): Promise<boolean> {
  const names = ['a-b', 'a/b', 'a0'].map(name => newKey(trial, `list/${name}`))
  for (const name of names) await trial.objects.put(name, Buffer.from('x'))
  const prefix = `${trial.prefix}list/`
  const all = await trial.objects.list(prefix, { max: 10 })
  const rest = await trial.objects.list(prefix, { startAfter: `${prefix}a.`, max: 10 })
  return all.join() === names.join() && rest.join() === names.slice(1).join()
}
