import { familiarReference, formatReference, parseReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { openWorld, registryFlags } from '../world.ts'
import { pullIntoStore } from './pull-image.ts'

export const pullCommand: Command = defineCommand({
  name: 'pull',
  usage: '[FLAGS] NAME[:TAG|@DIGEST]',
  summary: 'Download an image from a registry',
  examples: ['pull busybox', 'pull localhost:5000/app:1.2', 'pull --platform linux/arm64 alpine'],
  flags: {
    quiet: { kind: 'boolean', short: 'q', help: 'Print the name only' },
    platform: {
      kind: 'string',
      value: 'OS/ARCH',
      env: 'DOCKER_DEFAULT_PLATFORM',
      help: 'Platform of the image',
    },
    ...registryFlags,
  },
  unsupported: {
    'all-tags': { short: 'a', reason: 'Pull the tags you need' },
    'disable-content-trust': {},
  },
  arity: { min: 1, max: 1 },
  run: async ({ flags, args: [name = ''], ...context }) => {
    const reference = parseReference(name)
    await using world = await openWorld(context.environment, flags)
    const before = await world.store.images.get(reference)
    const target = await pullIntoStore(
      world,
      {
        reference,
        platform: wantedPlatform(flags.platform),
        progress: flags.quiet ? 'quiet' : 'auto',
      },
      context,
    )
    if (!flags.quiet) {
      const isNew = before?.target.digest !== target.digest
      const status = isNew ? 'Downloaded newer image' : 'Image is up to date'
      context.stdout.write(`Digest: ${target.digest}\n`)
      context.stdout.write(`Status: ${status} for ${familiarReference(reference)}\n`)
    }
    context.stdout.write(`${formatReference(reference)}\n`)
    return 0
  },
})
