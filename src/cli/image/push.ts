import { findImage, type LocalImage } from '../../layerfs/runtime/local-image.ts'
import { type FilePlace, formatImagePlace, parseImagePlace } from '../../oci/image-place.ts'
import { formatPlatform } from '../../oci/platform.ts'
import { formatReference, parseReference, type Reference } from '../../oci/reference.ts'
import { pushImage } from '../../registry/client/push.ts'
import { type Command, defineCommand, type Invocation } from '../command.ts'
import type { FlagTable } from '../flags/flags.ts'
import { withProgress } from '../progress/progress.ts'
import { withTransferProgress } from '../progress/transfer-progress.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { openWorld, registryFlags, type World } from '../world.ts'
import { wholeTarget } from './whole-target.ts'

const flags = {
  quiet: { kind: 'boolean', short: 'q', help: 'Print the name only' },
  ...registryFlags,
} as const satisfies FlagTable

export const pushCommand: Command = defineCommand({
  name: 'push',
  usage: '[FLAGS] IMAGE [NAME[:TAG]|PLACE]',
  summary: 'Upload an image to a registry, or write it elsewhere',
  examples: [
    'push localhost:5000/app:1.2',
    'push -q registry.example.com/team/app',
    'push app docker://registry.example.com/team/app:1.2',
    'push app oci:layout-directory:1.2',
  ],
  flags,
  unsupported: {
    'all-tags': { short: 'a', reason: 'Push the tags you need' },
    'disable-content-trust': {},
    platform: {},
  },
  arity: { min: 1, max: 2 },
  run: async ({ args: [name = '', destination = name], ...invocation }) => {
    const source = parseImagePlace(name)
    const place = parseImagePlace(destination)
    const text = source.kind === 'registry' ? formatReference(source.reference) : name
    await using world = await openWorld(invocation.environment, invocation.flags)
    const image = await findImage(world.store, text, wantedPlatform(undefined))
    if (place.kind === 'registry')
      return await upload(place.reference, image, { world, invocation })
    if (place.kind !== 'name') return await write(place, image, { world, invocation })
    return await upload(parseReference(place.text), image, { world, invocation })
  },
})

interface Pushing {
  readonly world: World
  readonly invocation: Omit<Invocation<typeof flags>, 'args'>
}

async function upload(
  reference: Reference,
  image: LocalImage,
  { world, invocation }: Pushing,
): Promise<number> {
  const { flags, signal, stdout, stderr } = invocation
  const { content } = world.store
  const root = await wholeTarget(content, image)
  const mode = flags.quiet ? 'quiet' : 'auto'
  const vertex = { id: 'push', name: `pushing ${formatReference(reference)}`, signal }
  await withProgress({ mode, title: 'Pushing' }, invocation, emit =>
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
}

async function write(
  place: FilePlace,
  image: LocalImage,
  { world, invocation }: Pushing,
): Promise<number> {
  const { content } = world.store
  const { reference, descriptor } = image
  const isDocker = place.kind === 'docker-archive'
  const target = isDocker ? descriptor : await wholeTarget(content, image)
  const named = reference === undefined ? { target } : { reference, target }
  const { writePlace } = await import('./file-place.ts')
  await writePlace(place, [named], { content, streams: invocation })
  if (place.path !== '-') invocation.stdout.write(`${formatImagePlace(place)}\n`)
  return 0
}

function onlyOnePlatform({ config }: LocalImage): string {
  const platform = formatPlatform(config.value)
  return `Only the image for ${platform} is here, and only that was pushed: not the index it came from`
}
