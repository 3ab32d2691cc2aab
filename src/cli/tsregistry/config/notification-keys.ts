/** The keys below `notifications`, and ours for the same. */
import { actions } from '../../../registry/notifications/event.ts'
import { eventFormats } from '../../../registry/notifications/event-format.ts'
import type { Key, Member } from './key.ts'

const endpoint: readonly Member[] = [
  {
    name: 'name',
    type: 'string',
    isRequired: true,
    help: 'What metrics and the log call it; its place in the queue goes by it',
  },
  { name: 'disabled', type: 'boolean', default: false, help: 'Nothing is sent or kept for it' },
  {
    name: 'url',
    type: 'string',
    isRequired: true,
    help: 'Where events are posted to; redirects are not followed',
  },
  { name: 'headers', type: 'map', help: 'Headers of every post' },
  { name: 'timeout', type: 'duration', default: '1s', help: 'How long to wait for an answer' },
  {
    name: 'threshold',
    type: 'integer',
    default: 10,
    help: 'Failures in a row after which to try at intervals of backoff',
  },
  { name: 'backoff', type: 'duration', default: '1s', help: 'That interval' },
  { name: 'ignoredmediatypes', type: 'strings', help: 'The older name of ignore.mediatypes' },
  { name: 'ignore.mediatypes', type: 'strings', help: 'Media types of what it is not told of' },
  {
    name: 'ignore.actions',
    type: 'strings',
    help: `What it is not told of: ${actions.join(', ')}`,
  },
  {
    name: 'format',
    type: eventFormats,
    default: 'distribution',
    help: 'Ours: the shape of a post',
  },
  {
    name: 'batch',
    type: 'integer',
    default: 100,
    help: 'Ours: the most events of one post, in distribution\u2019s shape',
  },
  {
    name: 'signingkeyfile',
    type: 'string',
    help: 'Ours: a file with the key that posts are signed with',
  },
]

export const notificationKeys: readonly Key[] = [
  {
    path: 'notifications.events.includereferences',
    type: 'boolean',
    use: 'taken',
    default: false,
    reload: true,
    help: 'Events of manifests name what these refer to',
  },
  {
    path: 'notifications.endpoints',
    type: { list: endpoint },
    use: 'taken',
    reload: true,
    help: 'Who is told of pushes, pulls, mounts and deletions; see docs/notifications.md',
  },
  {
    path: 'tsregistry.notifications.queue',
    type: 'string',
    use: 'taken',
    flag: 'event-queue',
    help: 'The folder of events that are still to be sent; with S3 it must be given',
  },
  {
    path: 'tsregistry.notifications.maxsize',
    type: 'integer',
    use: 'taken',
    flag: 'event-queue-size',
    default: 268435456,
    help: 'Bytes that it may have; beyond, the oldest events are lost',
  },
]
