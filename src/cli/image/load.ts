import { stat } from 'node:fs/promises'
import type { NamedImage } from '../../layerfs/image/archive-layout.ts'
import { importArchive, importLayout } from '../../layerfs/image/import-image.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { familiarReference } from '../../oci/reference.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { openInput } from '../input.ts'

export const loadCommand: Command = defineCommand({
  name: 'load',
  usage: '[FLAGS]',
  summary: 'Read images from an archive',
  examples: ['load -i app.tar', 'load < app.tar.gz', 'load -i layout-directory'],
  flags: {
    input: {
      kind: 'string',
      short: 'i',
      value: 'PATH',
      default: '-',
      help: 'Archive or OCI layout directory instead of standard input',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Print nothing' },
  },
  unsupported: { platform: {} },
  arity: { min: 0, max: 0 },
  run: async ({ flags, ...context }) => {
    await using store = await openStore(context.environment.root)
    const images = await readImages(flags.input, store, context)
    for (const image of images) {
      await store.images.set(image)
      if (!flags.quiet) context.stdout.write(`${describe(image)}\n`)
    }
    return 0
  },
})

async function readImages(
  input: string,
  { content }: Store,
  context: Pick<CliContext, 'stdin' | 'signal'>,
): Promise<NamedImage[]> {
  const isDirectory = input !== '-' && (await stat(input)).isDirectory()
  return isDirectory
    ? importLayout(input, content)
    : importArchive(openInput(input, context), content)
}

function describe({ reference, target }: NamedImage): string {
  return reference === undefined
    ? `Loaded image ID: ${target.digest}`
    : `Loaded image: ${familiarReference(reference)}`
}
