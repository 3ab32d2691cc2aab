/** Containers as users see them: by name or id, running or ended. */
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import { killLeftover } from '../sandbox/orphan.ts'
import type { Containers } from '../snapshot/containers.ts'
import { readEnd } from './container-files.ts'
import { type ContainerRecord, decodeContainerRecord } from './container-record.ts'

export interface Container {
  /** 64 hex digits. */
  readonly id: string
  /** Its directory; container-files.ts. */
  readonly path: string
  readonly isRunning: boolean
  /** `undefined` when it is damaged: the container can only be removed. */
  readonly record: ContainerRecord | undefined
}

/** Newest first. What a killed `--rm` run left behind is removed on the way. */
export async function listContainers(containers: Containers): Promise<Container[]> {
  const found: Container[] = []
  for (const { id, path, isRunning, record: value } of await containers.list()) {
    const decoded = decodeContainerRecord(value)
    const record = isRunning || decoded === undefined ? decoded : await settle(decoded, path)
    if (!isRunning && isLeftover(record)) await removeLeftover(containers, id)
    else found.push({ id, path, isRunning, record })
  }
  return found.sort((a, b) => createdAt(b).localeCompare(createdAt(a)))
}

/**
 * What a detached container's end is, which its monitor wrote. Without one the monitor was killed,
 * and a set-id program may have outlived it: no longer.
 */
async function settle(record: ContainerRecord, path: string): Promise<ContainerRecord> {
  if (record.end !== undefined) return record
  const end = await readEnd(path)
  if (end !== undefined) return { ...record, end }
  if (record.process !== undefined) await killLeftover(record.process)
  return record
}

/** It was to go at its end. One that was only created has none yet. */
function isLeftover(record: ContainerRecord | undefined): boolean {
  return record?.lifetime === 'removed-at-end' && record.startedAt !== undefined
}

/** It may have been removed, or held for that, by another process in the meantime. */
async function removeLeftover(containers: Containers, id: string): Promise<void> {
  try {
    await containers.remove(id)
  } catch (error) {
    if (!hasCode(error, 'not-found') && !hasCode(error, 'conflict')) throw error
  }
}

function createdAt({ record }: Container): string {
  return record?.createdAt ?? ''
}

/** By name, id, or the start of an id. Throws `not-found`, and `invalid` for an ambiguous start. */
export function findContainer(containers: readonly Container[], text: string): Container {
  const named = containers.find(({ id, record }) => record?.name === text || id === text)
  if (named !== undefined) return named
  const starting = containers.filter(({ id }) => text !== '' && id.startsWith(text))
  const [only, second] = starting
  if (only !== undefined && second === undefined) return only
  if (only === undefined) {
    throw new OciError('not-found', `Cannot find container "${printable(text)}"`)
  }
  throw new OciError(
    'invalid',
    `Cannot find container "${printable(text)}": ${starting.length} ids start with it`,
  )
}
