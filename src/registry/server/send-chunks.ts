/** A reply's body that is read as it is sent, or sent by whoever has it. */
import type { ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { ObjectBytes } from '../storage/object-store.ts'

/**
 * Sends the chunks and ends the response; while one is on its way the next is read, and no more.
 * When the chunks fail or the client goes away the connection is broken: after the head was sent
 * nothing else can tell of it. Never throws.
 */
export async function sendChunks(
  res: ServerResponse,
  body: ObjectBytes,
  /** Told of bytes that Node's socket does not count. */
  onSent: (bytes: number) => void = () => {},
): Promise<void> {
  const client = watchClient(res)
  const { socket } = res.req
  try {
    if (body.sendTo !== undefined && !(socket instanceof TLSSocket)) {
      await body.sendTo({ ...client, socket, sent: onSent })
    } else {
      // Each chunk is sent while the next is read, and no longer.
      await writeEach(client, body.lent ?? body)
    }
    res.end()
  } catch {
    res.destroy()
  } finally {
    client.end()
  }
}

async function writeEach(client: WatchedClient, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  let sending: Promise<void> = Promise.resolve()
  for await (const chunk of chunks) {
    await sending
    sending = client.write(chunk)
    // Awaited in the next turn; until then a failure is not unhandled.
    sending.catch(() => {})
  }
  await sending
}

interface WatchedClient {
  /** When the chunk is the system's to send. Throws when the client goes away before. */
  write(chunk: Uint8Array): Promise<void>
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal
  end(): void
}

/** A write that waits behind another reply on its connection is not told when that closes. */
function watchClient(res: ServerResponse): WatchedClient {
  const { socket } = res.req
  const gone = new AbortController()
  let giveUp = () => {}
  const onClose = () => {
    gone.abort()
    giveUp()
  }
  socket.once('close', onClose)
  return {
    write: chunk =>
      new Promise((resolve, reject) => {
        giveUp = () => reject(new Error('The client went away'))
        if (socket.destroyed) giveUp()
        else res.write(chunk, error => (error ? reject(error) : resolve()))
      }),
    signal: gone.signal,
    end: () => socket.off('close', onClose),
  }
}
