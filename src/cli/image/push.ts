import type { BlobReader } from '../../layerfs/content/content-store.ts'
import { findImage, type LocalImage } from '../../layerfs/runtime/local-image.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { isIndex } from '../../oci/media-type.ts'
import { formatPlatform } from '../../oci/platform.ts'
import { formatReference, parseReference } from '../../oci/reference.ts'
import { pushImage } from '../../registry/client/push.ts'
import { type Command, defineCommand } from '../command.ts'
import { withProgress } from '../progress/progress.ts'
import { withTransferProgress } from '../progress/transfer-progress.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { openWorld, registryFlags } from '../world.ts'

export const pushCommand: Command = defineCommand({
  name: 'push',
  usage: '[FLAGS] NAME[:TAG]',
  summary: 'Upload an image to a registry',
  examples: ['push localhost:5000/app:1.2', 'push -q registry.example.com/team/app'],
  flags: {
    quiet: { kind: 'boolean', short: 'q', help: 'Print the name only' },
    ...registryFlags,
  },
  unsupported: {
    'all-tags': { short: 'a', reason: 'Push the tags you need' },
    'disable-content-trust': {},
    platform: {},
  },
  arity: { min: 1, max: 1 },
  run: async ({ flags, args: [name = ''], ...context }) => {
    const { environment, signal, stdout, stderr } = context
    const reference = parseReference(name)
    await using world = await openWorld(environment, flags)
    const { content } = world.store
    const image = await findImage(world.store, name, wantedPlatform(undefined))
    const root = await pushable(content, image)
    const mode = flags.quiet ? 'quiet' : 'auto'
    const vertex = { id: 'push', name: `pushing ${formatReference(reference)}`, signal }
    await withProgress({ mode, title: 'Pushing' }, context, emit =>
      withTransferProgress(emit, vertex, onEvent =>
        pushImage(world.registry, reference, { root, from: content, onEvent, signal }),
      ),
    )
    if (root !== image.target && !flags.quiet) stderr.write(`${onlyOnePlatform(image)}\n`)
    const tag = reference.tag ?? root.digest
    stdout.write(
      flags.quiet
        ? `${formatReference(reference)}\n`
        : `${tag}: digest: ${root.digest} size: ${root.size}\n`,
    )
    return 0
  },
})

/** An index of which all images are here; otherwise the one image that is. */
async function pushable(content: BlobReader, image: LocalImage): Promise<Descriptor> {
  const { target, descriptor } = image
  if (!isIndex(target.mediaType)) return target
  const { value } = parseManifest(await content.read(target.digest), target.mediaType)
  if (value.kind === 'manifest') return target
  const found = await Promise.all(value.manifests.map(({ digest }) => content.find(digest)))
  return found.includes(undefined) ? descriptor : target
}

function onlyOnePlatform({ config }: LocalImage): string {
  const platform = formatPlatform(config.value)
  return `Only the image for ${platform} is here, and only that was pushed: not the index it came from`
}
