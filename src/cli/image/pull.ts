import { openStore } from '../../layerfs/store.ts'
import { type FilePlace, parseImagePlace } from '../../oci/image-place.ts'
import {
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
} from '../../oci/reference.ts'
import { type CliContext, type Command, defineCommand, type Invocation } from '../command.ts'
import type { FlagTable } from '../flags/flags.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { openWorld, registryFlags } from '../world.ts'
import { pullIntoStore } from './pull-image.ts'

const flags = {
  quiet: { kind: 'boolean', short: 'q', help: 'Print the name only' },
  platform: {
    kind: 'string',
    value: 'OS/ARCH',
    env: 'DOCKER_DEFAULT_PLATFORM',
    help: 'Platform of the image',
  },
  ...registryFlags,
} as const satisfies FlagTable

export const pullCommand: Command = defineCommand({
  name: 'pull',
  usage: '[FLAGS] NAME[:TAG|@DIGEST]|PLACE',
  summary: 'Get an image from a registry, an archive or an OCI layout',
  examples: [
    'pull busybox',
    'pull localhost:5000/app:1.2',
    'pull --platform linux/arm64 alpine',
    'pull oci:layout-directory:app:1.2',
  ],
  flags,
  unsupported: {
    'all-tags': { short: 'a', reason: 'Pull the tags you need' },
    'disable-content-trust': {},
  },
  arity: { min: 1, max: 1 },
  run: async ({ args: [name = ''], ...invocation }) => {
    const place = parseImagePlace(name)
    if (place.kind === 'name') return pullFromRegistry(parseReference(place.text), invocation)
    if (place.kind === 'registry') return pullFromRegistry(place.reference, invocation)
    return pullFromFile(place, invocation)
  },
})

type PullInvocation = Omit<Invocation<typeof flags>, 'args'>

async function pullFromRegistry(
  reference: Reference,
  { flags, ...context }: PullInvocation,
): Promise<number> {
  await using world = await openWorld(context.environment, flags)
  const before = await world.store.images.get(reference)
  const target = await pullIntoStore(
    world,
    {
      reference,
      platform: wantedPlatform(flags.platform),
      layers: 'packed',
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
}

/** Under the name it has there; without one, by its digest alone. */
async function pullFromFile(
  place: FilePlace,
  { flags, ...context }: PullInvocation & CliContext,
): Promise<number> {
  await using store = await openStore(context.environment.root)
  const { readOne } = await import('./file-place.ts')
  const { reference, target } = await readOne(place, store.content, context)
  await store.images.set(reference === undefined ? { target } : { reference, target })
  if (!flags.quiet) context.stdout.write(`Digest: ${target.digest}\n`)
  const name = reference === undefined ? target.digest : formatReference(reference)
  context.stdout.write(`${name}\n`)
  return 0
}
