/**
 * An event as it is sent: in distribution's envelope, or as CloudEvents 1.0 in either mode.
 * Spec: CloudEvents, HTTP protocol binding and JSON event format; Standard Webhooks for signatures.
 */
import { createHmac } from 'node:crypto'
import type { RegistryEvent } from './event.ts'

export const eventFormats = ['distribution', 'cloudevents', 'cloudevents-binary'] as const

export type EventFormat = (typeof eventFormats)[number]

export interface EventMessage {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** How many events one message may carry. */
export function mostEvents(format: EventFormat): number {
  return format === 'distribution' ? 100 : 1
}

/** `events` has at least one and at most {@link mostEvents}. */
export function messageOf(format: EventFormat, events: readonly RegistryEvent[]): EventMessage {
  if (format === 'distribution') {
    const type = 'application/vnd.docker.distribution.events.v2+json'
    return { headers: { 'content-type': type }, body: JSON.stringify({ events }) }
  }
  const [event] = events
  if (event === undefined) throw new Error('A message has an event')
  const attributes = attributesOf(event)
  if (format === 'cloudevents') {
    return {
      headers: { 'content-type': 'application/cloudevents+json; charset=UTF-8' },
      body: JSON.stringify({ ...attributes, datacontenttype: 'application/json', data: event }),
    }
  }
  const headers = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, encoded(value)])
  return {
    headers: { ...Object.fromEntries(headers), 'content-type': 'application/json' },
    body: JSON.stringify(event),
  }
}

/** The names are CloudEvents'; `subject` is what people call the target. */
function attributesOf({ id, action, timestamp, target, source }: RegistryEvent) {
  const { repository, tag, digest } = target
  const subject = tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`
  return {
    specversion: '1.0',
    id,
    source: `//${source.addr}`,
    type: `tsregistry.${action}`,
    subject,
    time: timestamp,
  }
}

/** Spec: HTTP protocol binding §3.1.3.2: percent-encoded where a header could not have it. */
function encoded(value: string): string {
  return value.replace(/[^!#-$&-~]/gu, char =>
    Array.from(
      Buffer.from(char),
      byte => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    ).join(''),
  )
}

/** Who has the key can tell that the message is ours, whole and not an old one. */
export function signatureHeaders(
  key: Buffer,
  { id, body, at }: { readonly id: string; readonly body: string; readonly at: Date },
): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${mac}`,
  }
}

/** The text of a file: base64 after `whsec_`, or any bytes. */
export function signingKey(text: string): Buffer {
  const trimmed = text.trim()
  const [, encodedKey] = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(trimmed) ?? []
  return encodedKey === undefined ? Buffer.from(trimmed) : Buffer.from(encodedKey, 'base64')
}
