/** Containers and images by the words people use for them, as stacks of layers. */
import { findBuild } from '../../builder/history/builds.ts'
import { selectStep } from '../../builder/history/select-step.ts'
import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { findImage, type LocalImage } from '../../layerfs/runtime/local-image.ts'
import type { Store } from '../../layerfs/store.ts'
import type { ChainId } from '../../oci/digest.ts'
import { hasCode, OciError, printable } from '../../oci/errors.ts'
import type { CliContext } from '../command.ts'
import { provideLayers, type WantedImage } from '../image/provide-image.ts'
import { wantedPlatform } from '../wanted-platform.ts'

export type Filesystem =
  | { readonly kind: 'step'; readonly layers: readonly string[] }
  | { readonly kind: 'container'; readonly layers: readonly string[] }
  | { readonly kind: 'image'; readonly layers: readonly string[]; readonly image: LocalImage }

/**
 * The layer directories of what `text` names, **top first**: a step of a build, a container, else
 * an image, which is unpacked first. Throws `not-found`, and `invalid` for the start of several ids.
 */
export async function findFilesystem(
  store: Store,
  text: string,
  context: CliContext,
): Promise<Filesystem> {
  const step = await stepCalled(store, text)
  if (step !== undefined) return { kind: 'step', layers: await store.snapshots.layers(step) }
  const id = await containerId(store, text)
  if (id !== undefined) {
    const { upper, lower } = await store.containers.layers(id)
    return { kind: 'container', layers: [upper, ...lower] }
  }
  const image = await imageCalled(store, text)
  const how = { pull: 'missing', layers: 'unpacked', progress: 'auto' } as const
  const wanted: WantedImage = { name: text, ...how }
  const chain = await provideLayers(store, image, { wanted, context })
  const layers = chain === undefined ? [] : await store.snapshots.layers(chain)
  return { kind: 'image', layers, image }
}

/** `#7` of the last build, or `20261120-172106-4753f#7`. */
const stepName = /^([^#]*)#(\d+)$/

async function stepCalled(store: Store, text: string): Promise<ChainId | undefined> {
  const [, id = '', number] = stepName.exec(text) ?? []
  if (number === undefined) return undefined
  const build = await findBuild(store, id === '' ? undefined : id)
  const { chain, name } = selectStep(build, number)
  if (chain !== undefined && (await store.snapshots.find(chain)) !== undefined) return chain
  throw new OciError('not-found', `The files of step "${printable(name)}" are not in the store`, {
    hint: 'A step has files when it ran or was cached; build again if they were pruned',
  })
}

async function containerId(store: Store, text: string): Promise<string | undefined> {
  const containers = await listContainers(store.containers)
  try {
    return findContainer(containers, text).id
  } catch (error) {
    if (hasCode(error, 'not-found')) return undefined
    throw error
  }
}

async function imageCalled(store: Store, text: string): Promise<LocalImage> {
  try {
    return await findImage(store, text, wantedPlatform(undefined))
  } catch (error) {
    if (!hasCode(error, 'not-found') && !hasCode(error, 'invalid')) throw error
    throw new OciError('not-found', `Cannot find a container or image "${printable(text)}"`, {
      cause: error,
    })
  }
}
