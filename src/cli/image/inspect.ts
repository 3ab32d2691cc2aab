import type { ImageRecord } from '../../layerfs/image/image-store.ts'
import { findContainer, listContainers } from '../../layerfs/runtime/container-list.ts'
import { findImage, type LocalImage } from '../../layerfs/runtime/local-image.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { hasCode } from '../../oci/errors.ts'
import type { Platform } from '../../oci/platform.ts'
import { familiarReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import { documentsFlag, documentsOutput } from '../lists/documents-output.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { containerDocument } from './container-document.ts'
import { imageSize } from './image-size.ts'

export const inspectCommand: Command = defineCommand({
  name: 'inspect',
  usage: '[FLAGS] CONTAINER|IMAGE...',
  summary: 'Show all about containers and images, as JSON',
  examples: [
    'inspect app',
    "inspect -f '{{.Id}}' app",
    "inspect -f '{{json .NetworkSettings.Ports}}' web",
  ],
  flags: {
    format: documentsFlag('{{.Id}}'),
    platform: { kind: 'string', value: 'OS/ARCH', help: 'Which of the images under a name' },
    type: { kind: 'choice', choices: ['container', 'image'], help: 'Only one kind' },
  },
  unsupported: { size: { short: 's', reason: 'The size is always shown' } },
  arity: { min: 1 },
  run: async ({ flags, args, environment, stdout }) => {
    const output = documentsOutput(flags.format)
    await using store = await openStore(environment.root)
    const platform = wantedPlatform(flags.platform)
    const context = { store, platform, type: flags.type }
    const documents = await Promise.all(args.map(text => documentOf(text, context)))
    stdout.write(output(documents))
    return 0
  },
})

interface Place {
  readonly store: Store
  readonly platform: Platform
  readonly type: string | undefined
}

/** A container has precedence, as in docker. Throws `not-found` when there is neither. */
async function documentOf(
  text: string,
  { store, platform, type }: Place,
): Promise<Record<string, unknown>> {
  if (type !== 'image') {
    try {
      return containerDocument(findContainer(await listContainers(store.containers), text))
    } catch (error) {
      if (type === 'container' || !hasCode(error, 'not-found')) throw error
    }
  }
  return inspectDocument(await findImage(store, text, platform), await store.images.list())
}

/** In docker's shape, without what only a daemon has. */
function inspectDocument(image: LocalImage, all: readonly ImageRecord[]): Record<string, unknown> {
  const { manifest, descriptor, target } = image
  const config = image.config.value
  const names = all.filter(other => other.target.digest === target.digest)
  const references = names.flatMap(({ reference }) => (reference === undefined ? [] : [reference]))
  return {
    Id: image.config.digest,
    RepoTags: references.filter(({ tag }) => tag !== undefined).map(familiarReference),
    RepoDigests: [
      ...new Set(
        references.map(({ registry, repository }) =>
          familiarReference({ registry, repository, digest: target.digest }),
        ),
      ),
    ],
    Created: config.created,
    Author: config.author ?? '',
    Config: config.config,
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: imageSize(image),
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Descriptor: descriptor,
    Layers: manifest.value.layers,
    History: config.history,
  }
}
