/** The connection of a client that sends a large body, taken from Node's HTTP until the body is stored. */
import type { IncomingMessage } from 'node:http'
import {
  type Received,
  type ReceiveInto,
  type ReceiveLimits,
  receive,
} from '../../layerfs/content/receive.ts'
import { type TakenBody, takeBody } from '../../layerfs/content/taken-body.ts'

export interface TakenConnection extends Pick<TakenBody, 'first' | 'giveBack' | 'goOn'> {
  /** What has not come yet, by a thread. Never throws: where none can be had it is the file that failed. */
  receive(into: ReceiveInto & ReceiveLimits): Promise<Received>
}

/** `undefined`, and nothing has happened, unless at least `worthTaking` bytes are to come as they are. */
export function takeConnection(
  message: IncomingMessage,
  worthTaking: number,
): TakenConnection | undefined {
  const taken = takeBody(message, worthTaking)
  if (taken === undefined) return undefined
  const { descriptor, left } = taken
  return { ...taken, receive: into => receive(descriptor, left, into).catch(notStarted) }
}

function notStarted(error: unknown): Received {
  return { end: 'file failed', received: 0, error: error as Error }
}
