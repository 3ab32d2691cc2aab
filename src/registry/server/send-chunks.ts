/** A reply's body that is read as it is sent. */
import type { ServerResponse } from 'node:http'

/**
 * Sends the chunks and ends the response; while one is on its way the next is read, and no more.
 * When the chunks fail or the client goes away the connection is broken: after the head was sent
 * nothing else can tell of it. Never throws.
 */
export async function sendChunks(
  res: ServerResponse,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const client = watchClient(res)
  let sending: Promise<void> = Promise.resolve()
  try {
    for await (const chunk of chunks) {
      await sending
      sending = client.write(chunk)
      // Awaited in the next turn; until then a failure is not unhandled.
      sending.catch(() => {})
    }
    await sending
    res.end()
  } catch {
    res.destroy()
  } finally {
    client.end()
  }
}

interface WatchedClient {
  /** When the chunk is the system's to send. Throws when the client goes away before. */
  write(chunk: Uint8Array): Promise<void>
  end(): void
}

/** A write that waits behind another reply on its connection is not told when that closes. */
function watchClient(res: ServerResponse): WatchedClient {
  const { socket } = res.req
  let giveUp = () => {}
  const onClose = () => giveUp()
  socket.once('close', onClose)
  return {
    write: chunk =>
      new Promise((resolve, reject) => {
        giveUp = () => reject(new Error('The client went away'))
        if (socket.destroyed) giveUp()
        else res.write(chunk, error => (error ? reject(error) : resolve()))
      }),
    end: () => socket.off('close', onClose),
  }
}
