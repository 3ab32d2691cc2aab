import { importRootfs } from '../../layerfs/image/import-rootfs.ts'
import { readImage } from '../../layerfs/runtime/local-image.ts'
import { openStore } from '../../layerfs/store.ts'
import { parseReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import { readInput } from '../input.ts'
import { wantedPlatform } from '../wanted-platform.ts'

export const importCommand: Command = defineCommand({
  name: 'import',
  usage: '[FLAGS] FILE|- [NAME[:TAG]]',
  summary: 'Make an image from the tar of a root filesystem',
  examples: ['import rootfs.tar.gz base:1', 'tar -C rootfs -c . | {program} import - base'],
  flags: {
    platform: { kind: 'string', value: 'OS/ARCH', help: 'Platform of the programs in it' },
  },
  unsupported: {
    change: { short: 'c', reason: 'Build from the imported image instead' },
    message: { short: 'm' },
  },
  arity: { min: 1, max: 2 },
  run: async ({ flags, args: [file = '', name], ...context }) => {
    const reference = name === undefined ? undefined : parseReference(name)
    const platform = wantedPlatform(flags.platform)
    await using store = await openStore(context.environment.root)
    const made = { created: new Date().toISOString(), ...platform, config: {} }
    const target = await readInput(file, context, input => importRootfs(input, made, store.content))
    await store.images.set(reference === undefined ? { target } : { reference, target })
    const { config } = await readImage(store.content, target, platform)
    context.stdout.write(`${config.digest}\n`)
    return 0
  },
})
