/** The version check (end-1) and the list of extensions, of which there are none. */
import { type Handler, jsonReply } from './exchange.ts'
import type { Endpoint } from './request-path.ts'

export const getBase: Handler<Extract<Endpoint, { kind: 'base' }>> = async () => jsonReply(200, {})

export const getExtensions: Handler<Extract<Endpoint, { kind: 'extensions' }>> = async () =>
  jsonReply(200, { extensions: [] })
