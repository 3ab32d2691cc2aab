/** Our extension: the history of a tag, and its undo. Spec: distribution-spec, Extensions. */
import { listTagChanges } from '../storage/tags.ts'
import { undoTag } from '../storage/undo-tag.ts'
import { author, type Handler, jsonReply } from './exchange.ts'
import type { Endpoint } from './request-path.ts'

/** Newest first: `{name, tag, changes: [{at, by?, from?, to?}]}`. */
export const getTagHistory: Handler<Extract<Endpoint, { kind: 'tag-history' }>> = async (
  { endpoint: { repository, tag } },
  storage,
) => {
  const changes = await listTagChanges(storage, repository, tag)
  return jsonReply(200, {
    name: repository,
    tag,
    changes: changes.map(change => ({ ...change, at: new Date(change.at).toISOString() })),
  })
}

/** Answers with what the tag points at now; `digest` is absent when it is gone. */
export const postTagUndo: Handler<Extract<Endpoint, { kind: 'tag-undo' }>> = async (
  { endpoint: { repository, tag }, session },
  storage,
) => {
  const { from } = await undoTag(storage, repository, { tag, ...author(session) })
  const action = from === undefined ? 'delete' : 'push'
  const reply = jsonReply(200, {
    name: repository,
    tag,
    ...(from === undefined ? {} : { digest: from }),
  })
  const happened = [{ action, kind: 'manifest', repository, tag, digest: from }] as const
  return { ...reply, happened }
}
