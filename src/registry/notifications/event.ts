/**
 * What happened in the registry, in the words and the shape that CNCF Distribution gave such events.
 * Spec: distribution, "Work with notifications".
 */
import { randomUUID } from 'node:crypto'
import type { Digest } from '../../oci/digest.ts'
import type { Client } from '../server/access/access.ts'
import type { Happening } from '../server/exchange.ts'

export const actions = ['push', 'pull', 'mount', 'delete'] as const

export type EventAction = (typeof actions)[number]

/** The members are sent under these names. */
export interface RegistryEvent {
  readonly id: string
  readonly timestamp: string
  readonly action: EventAction
  readonly target: EventTarget
  readonly request: {
    readonly id: string
    readonly addr?: string
    readonly host?: string
    readonly method: string
    readonly useragent: string
  }
  readonly actor: { readonly name?: string }
  readonly source: EventSource
}

export interface EventTarget {
  readonly mediaType?: string
  readonly digest?: Digest
  readonly size?: number
  /** The same as `size`, as the first readers of such events expect it. */
  readonly length?: number
  readonly repository: string
  readonly fromRepository?: string
  readonly url?: string
  readonly tag?: string
  readonly references?: readonly object[]
}

/** The server that tells of it. */
export interface EventSource {
  readonly addr: string
  /** Another one after each start. */
  readonly instanceID: string
}

export interface EventContext {
  readonly method: string
  readonly client: Client
  readonly user: string | undefined
}

export interface EventOptions {
  readonly source: EventSource
  /** Where clients reach the registry; absent: at the host that they asked. */
  readonly externalUrl?: URL | undefined
  readonly includeReferences: boolean
}

export function eventOf(
  happening: Happening,
  context: EventContext,
  options: EventOptions,
): RegistryEvent {
  const { client, method, user } = context
  const host = client.header('host')
  return {
    id: randomUUID(),
    timestamp: new Date().toISOString(),
    action: happening.action,
    target: targetOf(happening, context, options),
    request: {
      id: context.client.header('x-request-id')?.slice(0, 100) ?? randomUUID(),
      ...defined({ addr: peerOf(client), host }),
      method,
      useragent: client.header('user-agent') ?? '',
    },
    actor: defined({ name: user }),
    source: options.source,
  }
}

function peerOf({ remote, port }: Client): string | undefined {
  if (remote === undefined || port === undefined) return remote
  return remote.includes(':') ? `[${remote}]:${port}` : `${remote}:${port}`
}

function targetOf(
  { action: _, manifest, ...happening }: Happening,
  { client }: EventContext,
  { externalUrl, includeReferences }: EventOptions,
): EventTarget {
  const { digest, size, repository, kind, ...rest } = happening
  const isGone = size === undefined
  const base = externalUrl ?? addressOf(client)
  return {
    ...defined(rest),
    ...defined({ digest, size, length: size }),
    repository,
    ...(isGone || digest === undefined
      ? {}
      : { url: new URL(`/v2/${repository}/${kind}s/${digest}`, base).href }),
    ...(includeReferences && manifest !== undefined ? { references: referencesOf(manifest) } : {}),
  }
}

/** By the client's own word, which only goes into an address for whoever the operator tells. */
function addressOf({ header, isEncrypted }: Client): URL {
  const text = `${isEncrypted === true ? 'https' : 'http'}://${header('host') ?? 'localhost'}`
  return URL.canParse(text) ? new URL(text) : new URL('http://localhost')
}

/** More make an event that nobody wants to be sent. */
const maxReferences = 1000

/** Of what was taken, or was once: its members are as `manifest-document.ts` wants them. */
function referencesOf(manifest: Uint8Array): readonly object[] {
  const text = Buffer.from(manifest.buffer, manifest.byteOffset, manifest.length).toString('utf8')
  const { config, layers, blobs, manifests } = JSON.parse(text) as Record<string, unknown>
  const all = [config, layers, blobs, manifests].flat() as ({
    readonly [name: string]: unknown
  } | null)[]
  return all.slice(0, maxReferences).flatMap(descriptor => {
    if (typeof descriptor !== 'object' || descriptor === null) return []
    const { mediaType, digest, size } = descriptor
    return [{ mediaType, digest, size }]
  })
}

/** Without the members that are `undefined`. */
function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
