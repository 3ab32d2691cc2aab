/** `tsregistry scrub`: reads what is stored, and sets aside what is not what it should be. */
import { createRegistryStorage } from '../../registry/storage/registry-storage.ts'
import { scrub } from '../../registry/storage/rot.ts'
import { usageError } from '../cli-error.ts'
import { type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { openExistingStorage, storageFlags, storagePlace } from './storage-place.ts'

export const scrubCommand: Command = defineCommand({
  name: 'scrub',
  usage: '[FLAGS]',
  summary: 'Read everything stored and find what is damaged',
  examples: ['tsregistry scrub', 'tsregistry scrub --sample 5%'],
  arity: { min: 0, max: 0 },
  flags: {
    ...storageFlags,
    sample: {
      kind: 'string',
      value: 'PERCENT',
      help: 'Which part of the blobs to read',
      default: '100%',
    },
  } as const,
  run: async ({ flags, given, environment, signal, stdout }) => {
    const sample = sampleFrom(flags.sample)
    await using store = await openExistingStorage(storagePlace(flags, given, environment))
    const report = await scrub(createRegistryStorage(store.objects), {
      sample,
      signal,
      onRot: ({ kind, digest, repository }) => {
        const where = repository === undefined ? '' : ` in ${repository}`
        stdout.write(`damaged ${kind} ${digest}${where}: push it again\n`)
      },
    })
    const { blobs, size, manifests, rotten } = report
    stdout.write(
      `Read ${blobs} blobs (${humanSize(size)}) and ${manifests} manifests: ${rotten} damaged\n`,
    )
    return rotten === 0 ? 0 : 1
  },
})

function sampleFrom(text: string): number {
  const [, number] = /^([0-9]+(?:\.[0-9]+)?)%?$/.exec(text) ?? []
  const percent = Number(number)
  if (number === undefined || percent > 100) {
    throw usageError(`Cannot use flag --sample: expected 0% to 100%, got ${JSON.stringify(text)}`)
  }
  return percent / 100
}
