/** A small registry in memory whose every answer a test can replace before it is given. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { digestOf } from '../../../src/oci/digest.ts'
import { bodyOf, type LocalServer, sendJson, serve, type TlsFiles } from './local-server.ts'

export interface FakeRegistry extends LocalServer {
  readonly blobs: Map<string, Uint8Array>
  readonly manifests: Map<string, { readonly type: string; readonly bytes: Uint8Array }>
}

export interface FakeOptions {
  /** Answers and returns true, or leaves the request to the registry. */
  readonly before?: (
    request: IncomingMessage,
    response: ServerResponse,
    count: number,
  ) => boolean | Promise<boolean>
  readonly tls?: TlsFiles
}

export async function fakeRegistry({ before, tls }: FakeOptions = {}): Promise<FakeRegistry> {
  const contents: Contents = { blobs: new Map(), manifests: new Map() }
  const server = await serve(async (request, response, count) => {
    if (before !== undefined && (await before(request, response, count))) return
    const url = new URL(request.url ?? '', 'http://fake')
    if (request.method === 'POST') {
      response.writeHead(202, { location: `${url.pathname}1?state=a%2Fb` }).end()
    } else if (request.method === 'PUT') {
      receive(contents, url, { request, response, bytes: await bodyOf(request) })
    } else {
      give(contents, url, { request, response })
    }
  }, tls)
  return Object.assign(server, contents)
}

type Contents = Pick<FakeRegistry, 'blobs' | 'manifests'>

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

function receive(
  { blobs, manifests }: Contents,
  url: URL,
  { request, response, bytes }: Exchange & { readonly bytes: Uint8Array },
): void {
  const [kind, name = ''] = url.pathname.split('/').slice(-2)
  const digest = digestOf(bytes)
  if (kind === 'manifests') {
    const manifest = { type: request.headers['content-type'] ?? '', bytes }
    manifests.set(name, manifest).set(digest, manifest)
  } else if (digest === url.searchParams.get('digest')) {
    blobs.set(digest, bytes)
  } else {
    sendJson(response, 400, { errors: [{ code: 'DIGEST_INVALID', message: 'no' }] })
    return
  }
  response.writeHead(201).end()
}

function give({ blobs, manifests }: Contents, url: URL, { request, response }: Exchange): void {
  if (url.pathname === '/v2/') {
    sendJson(response, 200, {})
    return
  }
  const [kind, name = ''] = url.pathname.split('/').slice(-2)
  const manifest = kind === 'manifests' ? manifests.get(name) : undefined
  const bytes = kind === 'blobs' ? blobs.get(name) : manifest?.bytes
  if (bytes === undefined) {
    const code = kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN'
    sendJson(response, 404, { errors: [{ code, message: name }] })
    return
  }
  response.writeHead(200, {
    'content-type': manifest?.type ?? 'application/octet-stream',
    'content-length': bytes.byteLength,
    'docker-content-digest': digestOf(bytes),
  })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}
