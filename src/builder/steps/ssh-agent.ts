/**
 * An SSH agent of the user's, within reach of a RUN (R13): a socket that belongs to the user of the
 * step, behind which every connection is carried to the agent. Keys never leave the agent.
 */
import { chmodSync, chownSync, closeSync, openSync, statSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'

export interface SocketOwner {
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

export interface ForwardedAgent extends AsyncDisposable {
  /** The socket to mount. */
  readonly path: string
}

/**
 * Makes the socket in `directory`, which is the caller's to remove. Throws `not-found` when there
 * is no agent at `agent`. Disposing it ends every connection.
 */
export async function forwardAgent(
  agent: string,
  directory: string,
  { mode, uid, gid }: SocketOwner,
): Promise<ForwardedAgent> {
  assertSocket(agent)
  const sockets = new Set<Socket>()
  const server = createServer(client => carry(client, connect(agent), sockets))
  // The name of a socket is 107 bytes long at most; a store may be anywhere.
  const fd = openSync(directory, 'r')
  const short = `/proc/self/fd/${fd}/agent`
  const close = async () => {
    for (const socket of sockets) socket.destroy()
    await closed(server)
    closeSync(fd)
  }
  try {
    await listening(server, short)
    chownSync(short, uid, gid)
    chmodSync(short, mode)
  } catch (error) {
    await close()
    throw error
  }
  return { path: join(directory, 'agent'), [Symbol.asyncDispose]: close }
}

function assertSocket(agent: string): void {
  if (statSync(agent, { throwIfNoEntry: false })?.isSocket() === true) return
  throw new OciError('not-found', `Cannot reach the SSH agent at "${printable(agent)}": no socket`)
}

/** Whichever side ends or fails first ends the other. */
function carry(client: Socket, agent: Socket, sockets: Set<Socket>): void {
  for (const [socket, other] of [
    [client, agent],
    [agent, client],
  ] as const) {
    sockets.add(socket)
    socket.on('error', () => other.destroy())
    socket.on('close', () => {
      sockets.delete(socket)
      other.destroy()
    })
    socket.pipe(other)
  }
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

function closed(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
  })
}
