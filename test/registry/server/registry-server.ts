/** A registry on a free port of the loopback, and the few ways tests speak to it. */
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { openAccess } from '../../../src/registry/server/access/access.ts'
import type { Limits } from '../../../src/registry/server/limits/limits.ts'
import { type ListenOptions, listen } from '../../../src/registry/server/listen.ts'
import type { PullThrough } from '../../../src/registry/server/upstream/pull-through.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import type { ObjectStore } from '../../../src/registry/storage/object-store.ts'
import {
  createRegistryStorage,
  type RegistryStorage,
  type StorageOptions,
} from '../../../src/registry/storage/registry-storage.ts'

interface AnswerHeaders extends Readonly<Record<string, string | undefined>> {
  readonly location?: string
  readonly range?: string
  readonly link?: string
  readonly etag?: string
  readonly allow?: string
}

export interface Answer {
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: Buffer
  readonly json: () => { readonly errors: { code: string; message: string; detail?: unknown }[] }
}

export interface Sending {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Sends the body with chunked transfer encoding. */
  readonly chunked?: boolean
}

export interface TestRegistry extends AsyncDisposable {
  readonly port: number
  readonly objects: ObjectStore
  /** Failures that the operator would be told of. */
  readonly failures: unknown[]
  send(method: string, target: string, sending?: Sending): Promise<Answer>
  /** Writes `text` as it is and gives everything that comes until the server or `untilMs` ends it. */
  raw(text: string, untilMs?: number): Promise<string>
  /** Stops taking requests; those under way have `drainMs`. */
  close(drainMs: number): Promise<void>
}

export async function startRegistry(
  options: StorageOptions &
    Partial<
      Pick<ListenOptions, 'access' | 'slowestSender' | 'largeBodies' | 'clientUploads' | 'patience'>
    > & {
      objects?: ObjectStore
      limits?: (storage: RegistryStorage) => Limits
      /** Over the storage of this registry; closed with it. */
      pullThrough?: (storage: RegistryStorage) => PullThrough
    } = {},
): Promise<TestRegistry> {
  const objects = options.objects ?? new MemoryObjectStore()
  const failures: unknown[] = []
  const storage = createRegistryStorage(objects, options)
  const pullThrough = options.pullThrough?.(storage)
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    storage,
    limits: options.limits?.(storage),
    pullThrough,
    access: options.access ?? openAccess,
    ...(options.largeBodies === undefined ? {} : { largeBodies: options.largeBodies }),
    ...(options.clientUploads === undefined ? {} : { clientUploads: options.clientUploads }),
    ...(options.patience === undefined ? {} : { patience: options.patience }),
    ...(options.slowestSender === undefined ? {} : { slowestSender: options.slowestSender }),
    onError: error => failures.push(error),
    onRequest: () => {},
  })
  const { port } = listener
  return {
    port,
    objects,
    failures,
    send: (method, target, sending = {}) => send(port, `${method} ${target}`, sending),
    raw: (text, untilMs = 300) => raw(port, text, untilMs),
    close: drainMs => listener.close(drainMs),
    [Symbol.asyncDispose]: async () => {
      await listener.close(0)
      await pullThrough?.[Symbol.asyncDispose]()
    },
  }
}

function send(port: number, line: string, sending: Sending): Promise<Answer> {
  const [method = 'GET', path = '/'] = line.split(' ')
  const { body, chunked } = sending
  const length =
    body === undefined
      ? method === 'GET' || method === 'HEAD'
        ? undefined
        : 0
      : Buffer.byteLength(body)
  const headers = {
    ...(chunked === true
      ? { 'transfer-encoding': 'chunked' }
      : length === undefined
        ? {}
        : { 'content-length': String(length) }),
    ...sending.headers,
  }
  return new Promise((resolve, reject) => {
    const req = httpRequest(
      { host: '127.0.0.1', port, method, path, headers, agent: false },
      res => {
        const chunks: Buffer[] = []
        res.on('data', chunk => chunks.push(chunk))
        res.on('error', reject)
        res.on('end', () => {
          const bytes = Buffer.concat(chunks)
          resolve({
            status: res.statusCode ?? 0,
            headers: res.headers as Record<string, string>,
            body: bytes,
            json: () => JSON.parse(bytes.toString()),
          })
        })
      },
    )
    req.on('error', reject)
    req.end(body)
  })
}

function raw(port: number, text: string, untilMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text, 'latin1'))
    const timer = setTimeout(() => socket.destroy(), untilMs)
    socket.on('data', chunk => {
      seen += chunk.toString('latin1')
    })
    socket.on('error', error => {
      if (seen === '') reject(error)
    })
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(seen)
    })
  })
}
