/** `tsregistry copy`: everything from one storage into another. */
import { printable } from '../../oci/errors.ts'
import { type CopyEvent, copyRegistry } from '../../registry/storage/copy/copy-registry.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { isSameFolder, openCopySource, parseCopyPlace } from './copy-place.ts'
import { openStorage, parseStoragePlace } from './storage-place.ts'

const placeFlag = { kind: 'string', value: 'PLACE' } as const

export const copyCommand: Command = defineCommand({
  name: 'copy',
  usage: '--from PLACE --to PLACE',
  summary: 'Copy everything from one storage to another, verified; again to go on or catch up',
  examples: [
    'tsregistry copy --from filesystem:/srv/registry --to s3://bucket/registry',
    'tsregistry copy --from distribution:/var/lib/registry --to filesystem:/srv/registry',
  ],
  arity: { min: 0, max: 0 },
  flags: {
    from: {
      ...placeFlag,
      help: 'Where it is: filesystem:DIR, s3://BUCKET[/PREFIX][?OPTIONS], or what registry:2 or :3 stored: distribution:DIR, distribution:s3://…',
    },
    to: {
      ...placeFlag,
      help: 'Where it goes: filesystem:DIR or s3://BUCKET[/PREFIX][?OPTIONS]; what is there already stays',
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Say nothing of what is copied' },
  } as const,
  run: async ({ flags, environment, signal, stdout }) => {
    if (flags.from === undefined || flags.to === undefined) {
      throw usageError('Cannot copy: --from and --to are needed')
    }
    const place = parseCopyPlace('flag --from', flags.from, environment)
    const target = parseStoragePlace('flag --to', flags.to, environment)
    if (isSameFolder(place, target)) {
      throw usageError(`Cannot copy "${printable(flags.to)}" to itself`)
    }
    await using from = await openCopySource(place)
    await using to = await openStorage(target)
    const counts = { blob: 0, manifest: 0, tag: 0, damaged: 0, mended: 0 }
    let size = 0
    await copyRegistry(from.source, createRegistryStorage(to.objects), {
      signal,
      onEvent: event => {
        counts[event.kind]++
        if (event.kind === 'blob') size += event.size
        const isNews = event.kind === 'damaged' || event.kind === 'mended'
        if (!flags.quiet || isNews) stdout.write(`${lineOf(event)}\n`)
      },
    })
    const { blob, manifest, tag, damaged, mended } = counts
    const copied = `${blob} blobs (${humanSize(size)}), ${manifest} manifests, ${tag} tags`
    const repaired = mended === 0 ? '' : `, ${mended} mended`
    stdout.write(`Copied ${copied}; ${damaged} damaged at the source${repaired}\n`)
    return damaged === 0 ? 0 : 1
  },
})

function lineOf(event: CopyEvent): string {
  const of = `${event.kind} ${event.repository}`
  switch (event.kind) {
    case 'blob':
    case 'manifest':
      return `${of} ${event.digest}`
    case 'tag':
      return `${of} ${event.tag}`
    case 'damaged':
    case 'mended':
      return `${of} ${event.what}: ${event.reason}`
  }
}
