/** `tsregistry copy`: everything from one storage into another. */
import { type CopyEvent, copyRegistry } from '../../registry/storage/copy-registry.ts'
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { openStorage, parseStoragePlace } from './storage-place.ts'

const placeFlag = { kind: 'string', value: 'PLACE' } as const

export const copyCommand: Command = defineCommand({
  name: 'copy',
  usage: '--from PLACE --to PLACE',
  summary: 'Copy everything from one storage to another, verified; again to go on or catch up',
  examples: ['tsregistry copy --from filesystem:/srv/registry --to s3://bucket/registry'],
  arity: { min: 0, max: 0 },
  flags: {
    from: { ...placeFlag, help: 'Where it is: filesystem:DIR or s3://BUCKET[/PREFIX][?OPTIONS]' },
    to: { ...placeFlag, help: 'Where it goes: the same forms; what is there already stays' },
    quiet: { kind: 'boolean', short: 'q', help: 'Say nothing of what is copied' },
  } as const,
  run: async ({ flags, environment, signal, stdout }) => {
    if (flags.from === undefined || flags.to === undefined) {
      throw usageError('Cannot copy: --from and --to are needed')
    }
    const source = parseStoragePlace('flag --from', flags.from, environment)
    const target = parseStoragePlace('flag --to', flags.to, environment)
    await using from = await openStorage(source)
    await using to = await openStorage(target)
    const counts = { blob: 0, manifest: 0, tag: 0, damaged: 0 }
    let size = 0
    await copyRegistry(createRegistryStorage(from.objects), createRegistryStorage(to.objects), {
      signal,
      onEvent: event => {
        counts[event.kind]++
        if (event.kind === 'blob') size += event.size
        if (!flags.quiet || event.kind === 'damaged') stdout.write(`${lineOf(event)}\n`)
      },
    })
    const { blob, manifest, tag, damaged } = counts
    const copied = `${blob} blobs (${humanSize(size)}), ${manifest} manifests, ${tag} tags`
    stdout.write(`Copied ${copied}; ${damaged} damaged at the source\n`)
    return damaged === 0 ? 0 : 1
  },
})

function lineOf(event: CopyEvent): string {
  return [event.kind, event.repository, event.kind === 'tag' ? event.tag : event.digest].join(' ')
}
