import { stat } from 'node:fs/promises'
import type { NamedImage } from '../../layerfs/image/archive-layout.ts'
import { openStore } from '../../layerfs/store.ts'
import { type FilePlace, parseImagePlace } from '../../oci/image-place.ts'
import { familiarReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import { readPlace } from './file-place.ts'

export const loadCommand: Command = defineCommand({
  name: 'load',
  usage: '[FLAGS]',
  summary: 'Read images from an archive or an OCI layout',
  examples: [
    'load -i app.tar',
    'load < app.tar.gz',
    'load -i layout-directory',
    'load -i oci-archive:images.tar:app:1.2',
  ],
  flags: {
    input: {
      kind: 'string',
      short: 'i',
      value: 'PATH|PLACE',
      default: '-',
      help: 'Archive or OCI layout directory instead of standard input',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Print nothing' },
  },
  unsupported: { platform: {} },
  arity: { min: 0, max: 0 },
  run: async ({ flags, ...context }) => {
    await using store = await openStore(context.environment.root)
    const place = await placeOf(flags.input)
    const images = await readPlace(place, store.content, context)
    for (const image of images) {
      await store.images.set(image)
      if (!flags.quiet) context.stdout.write(`${describe(image)}\n`)
    }
    return 0
  },
})

/** A bare path may be either; what an archive is shows in its content. */
async function placeOf(input: string): Promise<FilePlace> {
  const place = input === '-' ? undefined : parseImagePlace(input)
  if (place !== undefined && place.kind !== 'name' && place.kind !== 'registry') return place
  const isDirectory = input !== '-' && (await stat(input)).isDirectory()
  return { kind: isDirectory ? 'oci' : 'oci-archive', path: input }
}

function describe({ reference, target }: NamedImage): string {
  return reference === undefined
    ? `Loaded image ID: ${target.digest}`
    : `Loaded image: ${familiarReference(reference)}`
}
