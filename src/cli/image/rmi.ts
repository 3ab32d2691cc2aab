import { listContainers } from '../../layerfs/runtime/container-list.ts'
import { findImage, type LocalImage, listImages } from '../../layerfs/runtime/local-image.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { Platform } from '../../oci/platform.ts'
import { familiarReference, parseReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import { tryEach } from '../try-each.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { removeUnused } from './remove-unused.ts'

export const rmiCommand: Command = defineCommand({
  name: 'rmi',
  usage: '[FLAGS] IMAGE...',
  summary: 'Remove images',
  examples: ['rmi app:old', 'rmi -f 3f2a9c'],
  flags: {
    force: {
      kind: 'boolean',
      short: 'f',
      help: 'Remove all names of an id; ignore missing images',
    },
  },
  unsupported: { 'no-prune': {} },
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    await using store = await openStore(context.environment.root)
    const platform = wantedPlatform(undefined)
    const code = await tryEach(args, { context, ignoresMissing: flags.force }, async text => {
      const removed = await removeNames(store, { text, platform, isForced: flags.force })
      return removed.map(line => `${line}\n`).join('')
    })
    await freeSpace(store)
    return code
  },
})

/** Not while another process does so: the next `rmi` or `prune` takes what is left. */
async function freeSpace(store: Store): Promise<void> {
  try {
    await removeUnused(store, new Date(0))
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
  }
}

interface Removal {
  readonly text: string
  readonly platform: Platform
  readonly isForced: boolean
}

/** What docker prints: a line per name, and one for the image when its last name went. */
async function removeNames(store: Store, removal: Removal): Promise<string[]> {
  const image = await findImage(store, removal.text, removal.platform)
  const same = (await listImages(store, removal.platform)).filter(
    other => other.config.digest === image.config.digest,
  )
  const doomed = isNamedBy(image, removal.text) ? [image] : same
  if (doomed.length > 1 && !removal.isForced) {
    throw new OciError(
      'conflict',
      `Cannot remove image "${removal.text}": it has ${doomed.length} names`,
      { hint: 'Remove them by name, or all of them with --force' },
    )
  }
  if (doomed.length === same.length) await assertUnused(store, image, removal)
  for (const { reference, target } of doomed) {
    await store.images.remove(reference === undefined ? { target } : { reference, target })
  }
  return [
    ...doomed.flatMap(({ reference }) =>
      reference === undefined ? [] : [`Untagged: ${familiarReference(reference)}`],
    ),
    ...(doomed.length === same.length ? [`Deleted: ${image.config.digest}`] : []),
  ]
}

function isNamedBy({ reference }: LocalImage, text: string): boolean {
  if (reference === undefined || /^sha256:/.test(text)) return false
  return familiarReference(parseReference(text)) === familiarReference(reference)
}

async function assertUnused(
  store: Store,
  { config }: LocalImage,
  { text, isForced }: Removal,
): Promise<void> {
  if (isForced) return
  const user = (await listContainers(store.containers)).find(
    ({ record }) => record?.imageId === config.digest,
  )
  if (user === undefined) return
  throw new OciError(
    'conflict',
    `Cannot remove image "${text}": container ${user.id.slice(0, 12)} was made from it`,
    { hint: 'Remove the container first, or use --force' },
  )
}
