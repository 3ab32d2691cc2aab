import { rootfsTar } from '../../layerfs/image/rootfs-tar.ts'
import { openStore } from '../../layerfs/store.ts'
import { OciError } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { writeArchive } from '../image/file-place.ts'
import { assertRoot } from '../privileges.ts'
import { findFilesystem } from './filesystem.ts'

export const exportCommand: Command = defineCommand({
  name: 'export',
  usage: '[FLAGS] CONTAINER|IMAGE',
  summary: 'Write all files of a container or an image as a tar',
  examples: ['export -o rootfs.tar app', 'export 3f2a9c | tar -t'],
  flags: {
    output: { kind: 'string', short: 'o', value: 'FILE', help: 'File instead of standard output' },
  },
  arity: { min: 1, max: 1 },
  run: async ({ flags, args: [text = ''], ...context }) => {
    if (flags.output === undefined && context.stdout.isTTY === true) {
      throw usageError('Cannot write an archive to a terminal', 'Use --output FILE, or redirect')
    }
    assertRoot('export files')
    await using store = await openStore(context.environment.root)
    const { layers: lower } = await findFilesystem(store, text, context)
    if (lower.length === 0)
      throw new OciError('invalid', `Cannot export "${text}": it has no files`)
    // A container's own layer lies on top as it is: it may be mounted, writable, by its run.
    const tar = rootfsTar({ kind: 'overlay', lower }, context.signal)
    await writeArchive(tar, flags.output ?? '-', context)
    return 0
  },
})
