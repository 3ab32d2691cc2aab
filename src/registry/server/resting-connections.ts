/**
 * Connections between two requests that Node has lost sight of (body/taken-request.ts). Given to its
 * server at once they would owe it a request within `headersTimeout`, as new ones do, and be told 408;
 * so they rest here until the next request begins.
 */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'

export interface RestingConnections {
  /** Has the server serve what comes by the connection, if it comes in time. */
  adopt(socket: Socket): void
  /** Closes those that rest, and all that are adopted from now on. */
  close(): void
}

export function restConnections(
  server: Pick<Server, 'emit' | 'keepAliveTimeout'>,
): RestingConnections {
  const resting = new Set<Socket>()
  let isClosed = false
  const adopt = (socket: Socket) => {
    if (isClosed) {
      socket.destroy()
      return
    }
    const destroy = () => {
      socket.destroy()
    }
    const leave = () => {
      resting.delete(socket)
      socket.setTimeout(0, destroy).off('error', destroy).off('end', destroy).off('close', leave)
    }
    const wake = (chunk: Uint8Array) => {
      leave()
      socket.pause()
      socket.unshift(chunk)
      server.emit('connection', socket)
      // By then the server listens to it.
      process.nextTick(() => socket.resume())
    }
    resting.add(socket)
    socket.setTimeout(server.keepAliveTimeout, destroy)
    socket.on('error', destroy).on('end', destroy).on('close', leave).once('data', wake)
  }
  return {
    adopt,
    close: () => {
      isClosed = true
      for (const socket of resting) socket.destroy()
    },
  }
}
