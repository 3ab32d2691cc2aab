/**
 * Requests to a bucket: signed and addressed by the `minio` client, over connections of our own; what is
 * read, which is most, is signed and read by ourselves (sign-get.ts, direct-get.ts).
 *
 * Of that client only `makeRequestStreamAsync` and `presignedUrl` are used. Its `putObject` resumes
 * multipart uploads that others began, and buffers half a gigabyte; its retries repeat writes that
 * may have been done. Timeouts, aborts and the reading of failures are in the transport we give it.
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { Readable } from 'node:stream'
import { rootCertificates } from 'node:tls'
import type { Client, IamAwsProvider } from 'minio'
import { OciError } from '../../../oci/errors.ts'
import type { ObjectRange } from '../object-store.ts'
import {
  createDirectGets,
  type DirectBody,
  type DirectObject,
  type DirectRequest,
  type DirectSize,
} from './direct-get.ts'
import { failureFrom, type S3Failure } from './s3-failure.ts'
import { describeS3, type S3Credentials, type S3Options } from './s3-options.ts'
import { createGetSigner } from './sign-get.ts'

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Below the options' prefix; absent: the bucket's own. */
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** A stream needs a `content-length` among the headers. */
  readonly body?: Buffer | Readable
  readonly signal?: AbortSignal
}

export type S3Response = http.IncomingMessage

export interface S3Client {
  readonly options: S3Options
  /** Throws {@link S3Failure} for an answer that is not 2xx, the system's error for none. */
  send(request: S3Request): Promise<S3Response>
  /** As `send`, for answers whose body is of no interest. */
  sendOnly(request: S3Request): Promise<http.IncomingHttpHeaders>
  /** The bytes of a range, if they come; `undefined`: ask with `send`. */
  get(key: string, range: ObjectRange): Promise<DirectBody | undefined>
  /** A small object, or that there is none, if either comes; `undefined`: ask with `send`. */
  read(key: string): Promise<DirectObject | undefined>
  /** How large an object is, if that comes; `undefined`: ask with `send`. */
  size(key: string): Promise<DirectSize | undefined>
  /** An address that lets whoever has it read the object for `seconds`. */
  presign(key: string, seconds: number): Promise<string>
  close(): void
}

/** Without a byte in either direction: the server is gone, or its network. */
const idleMs = 20_000

interface Call {
  readonly what: string
  readonly signal: AbortSignal | undefined
}

/** Throws `invalid` without credentials, where no role is to be asked for. */
export async function createS3Client(options: S3Options): Promise<S3Client> {
  if (options.credentials === undefined && options.hasRole === false) {
    throw new OciError('invalid', `Cannot use storage "${describeS3(options)}": no credentials`, {
      hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or role=yes to ask this machine for its role',
    })
  }
  const { Client, IamAwsProvider } = await import('minio')
  const isSecure = options.endpoint?.protocol !== 'http:'
  const module = isSecure ? https : http
  const ca = authoritiesOf(options)
  const agent = new module.Agent({
    keepAlive: true,
    maxSockets: 256,
    timeout: idleMs,
    ca,
  } as object)
  const { credentials } = options
  const role = credentials === undefined ? new IamAwsProvider({}) : undefined
  const connect = (endpoint: URL | undefined): Client => {
    const client = new Client({
      endPoint: endpoint?.hostname ?? 's3.amazonaws.com',
      useSSL: endpoint?.protocol !== 'http:',
      ...(endpoint === undefined || endpoint.port === '' ? {} : { port: Number(endpoint.port) }),
      region: options.region,
      pathStyle: options.pathStyle,
      ...accessOf(credentials, role),
      transportAgent: agent,
      retryOptions: { disableRetry: true },
    })
    // Else over http each body is hashed once more, before the first byte is sent.
    client.enableSHA256 = false
    return client
  }
  const client = connect(options.endpoint)
  const outside = connect(options.publicEndpoint ?? options.endpoint)
  const direct = createDirectGets(ca)
  const requestOf = directRequests(client, role, options)
  const send = (request: S3Request) => {
    const call = { what: describe(request), signal: request.signal }
    return exchange(clientFor(client, transportOver(module, call)), request, options)
  }
  return {
    options,
    send,
    sendOnly: async request => {
      const response = await send(request)
      for await (const _ of response) {
        // Read to its end, so that the connection is free again.
      }
      return response.headers
    },
    get: async (key, { start, end, of }) => {
      const request = await requestOf('GET', key)
      return request && direct.get(request, { start, end, isWhole: start === 0 && end === of })
    },
    read: async key => {
      const request = await requestOf('GET', key)
      return request && direct.read(request)
    },
    size: async key => {
      const request = await requestOf('HEAD', key)
      return request && direct.size(request)
    },
    presign: (key, seconds) =>
      outside.presignedUrl('GET', options.bucket, keyIn(options, key), seconds),
    close: () => {
      agent.destroy()
      direct.close()
    },
  }
}

/** What is read with our own signature, where `client` addresses it; `undefined` for want of credentials. */
function directRequests(client: Client, role: IamAwsProvider | undefined, options: S3Options) {
  const sign = createGetSigner(options.region)
  let place: Promise<URL> | undefined
  return async (
    method: DirectRequest['method'],
    key: string,
  ): Promise<DirectRequest | undefined> => {
    try {
      const credentials = options.credentials ?? credentialsOf(await role?.getCredentials())
      place ??= client.presignedUrl('GET', options.bucket, 'x').then(url => new URL(url))
      const { origin, host, pathname } = await place
      if (credentials === undefined) return undefined
      const path = pathname.slice(0, -1) + pathOf(keyIn(options, key))
      const headers = sign({ method, host, path }, credentials, new Date())
      return { method, server: origin, path, headers }
    } catch {
      // `send` tells why.
      place = undefined
      return undefined
    }
  }
}

/** As Node takes them; `undefined`: the well-known ones. */
function authoritiesOf({ ca }: S3Options): readonly string[] | undefined {
  if (ca === undefined) return undefined
  return [...rootCertificates, ...ca.map(pem => Buffer.from(pem).toString())]
}

type Transport = Pick<typeof http, 'request'>

/**
 * The client, whose next request goes through `transport`: it has one for all, and tells it nothing of
 * the call. To find that by Node's `AsyncLocalStorage` slows down every promise of the process, and
 * was a tenth of the time of a push (measured).
 */
function clientFor(client: Client, transport: Transport): Client {
  return Object.create(client, { transport: { value: transport } })
}

/** Whatever the answer is, it is ours to read; a list would be walked over for each request. */
const allStatuses = { forEach: () => {}, includes: () => true } as unknown as number[]

async function exchange(
  client: Client,
  request: S3Request,
  options: S3Options,
): Promise<S3Response> {
  request.signal?.throwIfAborted()
  const { method, key, query = {}, headers = {}, body } = request
  const isWrite = method === 'PUT' || method === 'POST'
  const length: Record<string, string> =
    isWrite && !('content-length' in headers)
      ? { 'content-length': String(Buffer.isBuffer(body) ? body.length : 0) }
      : {}
  const response = await client.makeRequestStreamAsync(
    {
      method,
      bucketName: options.bucket,
      ...(key === undefined ? {} : { objectName: keyIn(options, key) }),
      query: queryString(query),
      headers: { ...headers, ...length },
    },
    body ?? '',
    '',
    allStatuses,
    options.region,
  )
  const status = response.statusCode ?? 0
  if (status >= 200 && status < 300) return response
  throw await failureFrom(response, describe(request))
}

export function keyIn({ prefix }: S3Options, key: string): string {
  return prefix === '' ? key : `${prefix}/${key}`
}

/** As it is sent, and signed. */
function pathOf(key: string): string {
  return key.split('/').map(escaped).join('/')
}

/** As `minio` takes them. */
function accessOf(
  credentials: S3Credentials | undefined,
  role: IamAwsProvider | undefined,
): Partial<ConstructorParameters<typeof Client>[0]> {
  if (role !== undefined) return { credentialsProvider: role }
  if (credentials === undefined) return {}
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  return {
    accessKey: accessKeyId,
    secretKey: secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
}

type RoleCredentials = Awaited<ReturnType<IamAwsProvider['getCredentials']>>

/** A role's, as `minio` has them. */
function credentialsOf(role: RoleCredentials | undefined): S3Credentials | undefined {
  if (role === undefined) return undefined
  const { accessKey, secretKey, sessionToken } = role
  return {
    accessKeyId: accessKey,
    secretAccessKey: secretKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  }
}

function describe({ method, key, query }: S3Request): string {
  return `Cannot ${method} "${key ?? Object.keys(query ?? {}).join('&')}"`
}

/** In the order of the names, as the signature wants it. */
function queryString(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${encodeURIComponent(name)}=${escaped(value)}`)
    .sort()
    .join('&')
}

function escaped(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** The answers that the client would retry by itself, and lose the reason of. */
const taken = [408, 429, 499, 500, 502, 503, 504, 520]

function transportOver(module: typeof http | typeof https, { what, signal }: Call): Transport {
  const request = (given: http.RequestOptions, answer: (response: S3Response) => void) => {
    const options = signal === undefined ? given : { ...given, signal }
    const sent = module.request(options, response => {
      if (!taken.includes(response.statusCode ?? 0)) return answer(response)
      void failureFrom(response, what).then(
        failure => fail(sent, failure),
        error => fail(sent, error),
      )
    })
    // Of the agent, which sets it once for each connection.
    sent.on('timeout', () => {
      const silence = new Error(`The storage said nothing for ${idleMs / 1000} seconds`)
      sent.destroy(Object.assign(silence, { code: 'ETIMEDOUT' }))
    })
    return sent
  }
  return { request: request as typeof http.request }
}

/** A body that was sent whole leaves its connection free for the next request. */
function fail(sent: http.ClientRequest, error: S3Failure | Error): void {
  if (sent.writableFinished) sent.emit('error', error)
  else sent.destroy(error)
}
