/** The version check (end-1) and the list of extensions. */
import { type Handler, jsonReply } from './exchange.ts'
import type { Endpoint } from './request-path.ts'

export const getBase: Handler<Extract<Endpoint, { kind: 'base' }>> = async () => jsonReply(200, {})

export const getExtensions: Handler<Extract<Endpoint, { kind: 'extensions' }>> = async () =>
  jsonReply(200, {
    extensions: [
      {
        name: '_tsregistry',
        description: 'What a tag pointed at before, and setting it back',
        endpoints: ['_tsregistry/tags/<tag>/history', '_tsregistry/tags/<tag>/undo'],
      },
    ],
  })
