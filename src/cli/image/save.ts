import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  type ArchiveFormat,
  exportArchive,
  exportLayout,
} from '../../layerfs/image/export-image.ts'
import { findImage, type LocalImage } from '../../layerfs/runtime/local-image.ts'
import { openStore } from '../../layerfs/store.ts'
import { usageError } from '../cli-error.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { writeOutputFile } from '../output-file.ts'
import { wantedPlatform } from '../wanted-platform.ts'

export const saveCommand: Command = defineCommand({
  name: 'save',
  usage: '[FLAGS] IMAGE...',
  summary: 'Write images to an archive',
  examples: [
    'save -o app.tar app',
    'save app | gzip > app.tar.gz',
    'save --format oci-dir -o layout app',
  ],
  flags: {
    output: { kind: 'string', short: 'o', value: 'FILE', help: 'File instead of standard output' },
    format: {
      kind: 'choice',
      choices: ['docker-archive', 'oci-archive', 'oci-dir'],
      default: 'docker-archive',
      help: 'For docker load, for any OCI tool, or as an open directory',
    },
    platform: { kind: 'string', value: 'OS/ARCH', help: 'Which of the images under a name' },
  },
  arity: { min: 1 },
  run: async ({ flags, args, ...context }) => {
    const { output, format } = flags
    if (output === undefined && context.stdout.isTTY === true) {
      throw usageError('Cannot write an archive to a terminal', 'Use --output FILE, or redirect')
    }
    await using store = await openStore(context.environment.root)
    const platform = wantedPlatform(flags.platform)
    const found = await Promise.all(args.map(text => findImage(store, text, platform)))
    const archiveFormat: ArchiveFormat = format === 'docker-archive' ? 'docker' : 'oci'
    const images = found.map(image => namedImage(image, archiveFormat))
    const request = { images, content: store.content, format: archiveFormat }
    if (format === 'oci-dir') {
      if (output === undefined) throw usageError('Format oci-dir needs --output DIRECTORY')
      await exportLayout(output, request)
    } else {
      await writeArchive(exportArchive(request), output, context)
    }
    return 0
  },
})

/** Docker's archive can say no platform: one manifest. The others take what the name points at. */
function namedImage({ reference, descriptor, target }: LocalImage, format: ArchiveFormat) {
  const chosen = format === 'docker' ? descriptor : target
  return reference === undefined ? { target: chosen } : { reference, target: chosen }
}

function writeArchive(
  bytes: AsyncIterable<Uint8Array>,
  output: string | undefined,
  { stdout, signal }: Pick<CliContext, 'stdout' | 'signal'>,
): Promise<void> {
  if (output === undefined) return pipeline(Readable.from(bytes), stdout, { signal, end: false })
  return writeOutputFile(output, bytes, signal)
}
