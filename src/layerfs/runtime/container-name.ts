/** Names of containers: each is one container's alone. */
import { join } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { withLock } from '../content/file-lock.ts'
import type { Store } from '../store.ts'
import { type Container, listContainers } from './container-list.ts'

/**
 * Does `work`, which gives a container the name, while nobody else takes it. Throws `invalid` for
 * what cannot be a name, and `conflict` for one that is taken.
 */
export async function withFreeName<T>(
  store: Store,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  checkName(name)
  return await withLock(join(store.locks, 'container-names'), 'exclusive', async () => {
    await assertNameIsFree(store, name)
    return await work()
  })
}

/** Throws as {@link withFreeName}, and `conflict` for a container whose record is damaged. */
export async function renameContainer(
  store: Store,
  { id, record }: Container,
  name: string,
): Promise<void> {
  if (record === undefined) {
    throw new OciError('conflict', `Cannot rename container ${id.slice(0, 12)}: it is damaged`)
  }
  await withFreeName(store, name, () => store.containers.setRecord(id, { ...record, name }))
}

function checkName(name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(name)) return
  throw new OciError(
    'invalid',
    `Cannot use container name "${printable(name)}": expected up to 128 of A-Z a-z 0-9 _ . -`,
  )
}

async function assertNameIsFree(store: Store, name: string): Promise<void> {
  const holder = (await listContainers(store.containers)).find(
    ({ record }) => record?.name === name,
  )
  if (holder === undefined) return
  throw new OciError(
    'conflict',
    `Cannot use container name "${name}": container ${holder.id.slice(0, 12)} has it`,
    { hint: `Remove that one ("tsrun rm ${name}") or use another name` },
  )
}
