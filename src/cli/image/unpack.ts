import { unpackFlat } from '../../layerfs/image/unpack-flat.ts'
import { openStore } from '../../layerfs/store.ts'
import { type Command, defineCommand } from '../command.ts'
import { assertRoot } from '../privileges.ts'
import { provideImage, type WantedImage, withMissingBlobs } from './provide-image.ts'

/** Of the commands that need an image's files, and pull it when it is not here. */
export const sourceFlags = {
  platform: {
    kind: 'string',
    value: 'OS/ARCH',
    env: 'DOCKER_DEFAULT_PLATFORM',
    help: 'Platform of the image',
  },
  pull: {
    kind: 'choice',
    choices: ['always', 'missing', 'never'],
    default: 'missing',
    help: 'When to pull the image',
  },
  quiet: { kind: 'boolean', short: 'q', help: 'Do not show the progress of a pull' },
} as const

export const unpackCommand: Command = defineCommand({
  name: 'unpack',
  usage: '[FLAGS] IMAGE|PLACE DIRECTORY',
  summary: 'Write the files of an image into a directory',
  examples: ['unpack busybox rootfs', 'unpack oci:layout:app rootfs', 'unpack --force app rootfs'],
  flags: {
    ...sourceFlags,
    force: { kind: 'boolean', short: 'f', help: 'Also over what the directory holds' },
  },
  arity: { min: 2, max: 2 },
  run: async ({ flags, args: [name = '', directory = ''], ...context }) => {
    assertRoot('unpack an image')
    const { platform, pull, quiet } = flags
    const progress = quiet ? 'quiet' : 'auto'
    const wanted: WantedImage = { name, platform, pull, layers: 'packed', progress }
    await using store = await openStore(context.environment.root)
    const image = await provideImage(store, wanted, context)
    const documents = { manifest: image.manifest.value, config: image.config.value }
    const target = flags.force ? 'any' : 'empty'
    const { signal } = context
    await withMissingBlobs(image, {
      wanted,
      context,
      use: () => unpackFlat(documents, directory, { target, signal, place: store }),
    })
    return 0
  },
})
