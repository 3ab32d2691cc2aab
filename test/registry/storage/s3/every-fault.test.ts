/** Each operation of a bucket, with each fault once: the store does what it was asked all the same. */
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ObjectStore } from '../../../../src/registry/storage/object-store.ts'
import {
  type OpenS3ObjectStore,
  openS3ObjectStore,
} from '../../../../src/registry/storage/s3/open-s3.ts'
import {
  type Fault,
  type FaultyProxy,
  type Operation,
  startFaultyProxy,
} from '../../../support/faulty-proxy.ts'
import { findFullS3Server, startS3Server, type TestS3Server } from '../../../support/s3-server.ts'

const bytes = (text: string) => Buffer.from(text)
const textOf = async (objects: ObjectStore, key: string) =>
  Buffer.from((await objects.get(key))?.bytes ?? []).toString()
const large = randomBytes(9 * 1024 * 1024)

async function append(objects: ObjectStore, key: string) {
  const turn = await objects.append(key)
  for (let at = 0; at < large.length; at += 1 << 20)
    await turn.write([large.subarray(at, at + (1 << 20))])
  return turn
}

async function isWhole(objects: ObjectStore, key: string) {
  const chunks: Uint8Array[] = []
  for await (const chunk of await objects.open(key)) chunks.push(chunk)
  return Buffer.concat(chunks).equals(large)
}

type Check = (objects: ObjectStore, key: string) => Promise<unknown>

const completed: Check = async (objects, key) => {
  const turn = await append(objects, key)
  expect(await turn.complete()).toBe(large.length)
  expect(await isWhole(objects, key)).toBe(true)
}

const checks: Readonly<Record<Operation, Check>> = {
  get: async (objects, key) => {
    await objects.put(key, bytes('x'))
    expect(await textOf(objects, key)).toBe('x')
  },
  head: async (objects, key) => {
    await objects.put(key, bytes('xyz'))
    expect(await objects.size(key)).toBe(3)
  },
  put: async (objects, key) => {
    await objects.put(key, bytes('x'))
    expect(await textOf(objects, key)).toBe('x')
  },
  create: async (objects, key) => {
    await objects.put(key, bytes('x'), { condition: { kind: 'absent' } })
    expect(await textOf(objects, key)).toBe('x')
  },
  replace: async (objects, key) => {
    const etag = await objects.put(key, bytes('x'))
    const next = await objects.put(key, bytes('y'), { condition: { kind: 'matches', etag } })
    expect(await objects.get(key)).toMatchObject({ etag: next })
    expect(await textOf(objects, key)).toBe('y')
  },
  delete: async (objects, key) => {
    await objects.put(key, bytes('x'))
    await objects.delete(key)
    expect(await objects.get(key)).toBeUndefined()
  },
  'delete if': async (objects, key) => {
    const etag = await objects.put(key, bytes('x'))
    await objects.delete(key, { condition: { kind: 'matches', etag } })
    expect(await objects.get(key)).toBeUndefined()
  },
  list: async (objects, key) => {
    const names = ['1', '2', '3'].map(name => `${key}/${name}`)
    for (const name of names) await objects.put(name, bytes('x'))
    expect(await objects.list(`${key}/`, { max: 10 })).toEqual(names)
  },
  begin: completed,
  part: completed,
  complete: completed,
  abort: async (objects, key) => {
    const turn = await append(objects, key)
    await objects.discard(key, await turn.checkpoint())
    for await (const left of objects.unfinished(key)) expect(left).toBeUndefined()
  },
  'list uploads': async (objects, key) => {
    const checkpoint = await (await append(objects, key)).checkpoint()
    const found: string[] = []
    for await (const left of objects.unfinished(key)) found.push(left.key)
    expect(found).toContain(key)
    await objects.discard(key, checkpoint)
  },
}

const faults: readonly Fault[] = ['slow', 'busy', 'conflict', 'lost', 'torn']
const conditional: readonly Operation[] = ['create', 'replace', 'delete if', 'complete']
const product = findFullS3Server()
const title = `on ${product ?? 'S3 [skipped: no S3 server installed]'}`

describe.skipIf(product === undefined)(title, () => {
  let server: TestS3Server
  let proxy: FaultyProxy
  let store: OpenS3ObjectStore
  beforeAll(async () => {
    server = await startS3Server(product ?? 'moto')
    proxy = await startFaultyProxy(server.port)
    const endpoint = new URL(`http://127.0.0.1:${proxy.port}`)
    store = await openS3ObjectStore({ ...server.options, endpoint, prefix: randomUUID() })
  })
  afterAll(async () => {
    await store?.[Symbol.asyncDispose]()
    await proxy?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  const cases = (Object.keys(checks) as Operation[]).flatMap(operation =>
    faults
      .filter(fault => fault !== 'conflict' || conditional.includes(operation))
      .map(fault => [operation, fault] as const),
  )
  it.each(cases)('"%s" is done when its request is %s', async (operation, fault) => {
    proxy.arm(operation, fault)
    await checks[operation](store.objects, `d/${randomUUID()}`)
    expect(proxy.isArmed()).toBe(false)
  })
})
