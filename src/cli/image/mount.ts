import type { MountedImage } from '../../layerfs/snapshot/image-mounts.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { type ListColumns, listFlags, listOutput } from '../lists/list-output.ts'
import { assertRoot } from '../privileges.ts'
import { provideImage, provideLayers, type WantedImage } from './provide-image.ts'
import { sourceFlags } from './unpack.ts'

export const mountCommand: Command = defineCommand({
  name: 'mount',
  usage: '[FLAGS] [IMAGE|PLACE DIRECTORY]',
  summary: 'Show the files of an image in a directory, or list the images that are',
  examples: ['mount busybox /mnt', 'mount --rw app /mnt', 'mount', 'umount /mnt'],
  flags: {
    ...sourceFlags,
    rw: { kind: 'boolean', help: 'Writable; what is written is gone after umount' },
    'no-trunc': listFlags['no-trunc'],
    format: listFlags.format,
  },
  arity: { min: 0, max: 2 },
  run: async ({ flags, args: [name, directory], ...context }) => {
    await using store = await openStore(context.environment.root)
    if (name === undefined) {
      context.stdout.write(listOf(await store.mounts.list(), flags))
      return 0
    }
    if (directory === undefined) throw usageError('"mount" takes no argument, or 2, got 1')
    assertRoot('mount an image')
    const { platform, pull, quiet } = flags
    const progress = quiet ? 'quiet' : 'auto'
    const wanted: WantedImage = { name, platform, pull, layers: 'unpacked', progress }
    const image = await provideImage(store, wanted, context)
    const chain = await provideLayers(store, image, { wanted, context })
    const mode = flags.rw ? 'scratch' : 'read-only'
    const mounted = await store.mounts.mount({ chain, image: name, target: directory, mode })
    context.stdout.write(`${mounted.target}\n`)
    return 0
  },
})

export const umountCommand: Command = defineCommand({
  name: 'umount',
  usage: '[FLAGS] DIRECTORY|ID...',
  summary: 'End what mount began',
  examples: ['umount /mnt', 'umount --all'],
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'All images that are mounted' },
    lazy: { kind: 'boolean', short: 'l', help: 'Also while it is used: by and by' },
  },
  arity: { min: 0 },
  run: async ({ flags, args, environment, stdout }) => {
    if (flags.all === args.length > 0) throw usageError('Name a directory, or use --all')
    assertRoot('unmount an image')
    await using store = await openStore(environment.root)
    for (const text of flags.all ? await idsOf(store) : args) {
      const { target } = await store.mounts.unmount(text, flags.lazy ? 'lazy' : 'now')
      stdout.write(`${target}\n`)
    }
    return 0
  },
})

async function idsOf({ mounts }: Store): Promise<string[]> {
  // The latest first: one may be mounted below another.
  return (await mounts.list()).map(({ id }) => id).reverse()
}

const columns: ListColumns = {
  'MOUNT ID': 'ID',
  IMAGE: 'Image',
  DIRECTORY: 'Directory',
  MODE: 'Mode',
}

function listOf(
  mounted: readonly MountedImage[],
  flags: { readonly format: string; readonly 'no-trunc': boolean },
): string {
  const rows = mounted.map(({ id, image, target, mode }) => ({
    ID: flags['no-trunc'] ? id : id.slice(0, 12),
    Image: image,
    Directory: target,
    Mode: mode,
  }))
  return listOutput(rows, columns, { quiet: false, format: flags.format })
}
