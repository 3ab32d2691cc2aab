import { type LocalImage, listImages } from '../../layerfs/runtime/local-image.ts'
import { openStore } from '../../layerfs/store.ts'
import { printable } from '../../oci/errors.ts'
import { familiarReference } from '../../oci/reference.ts'
import { type Command, defineCommand } from '../command.ts'
import type { FlagTable } from '../flags/flags.ts'
import { humanAge, humanSize } from '../human.ts'
import { filterOf } from '../lists/filters.ts'
import { type ListColumns, type ListRow, listFlags, listOutput } from '../lists/list-output.ts'
import { wantedPlatform } from '../wanted-platform.ts'
import { imageFilters } from './image-filters.ts'
import { imageSize } from './image-size.ts'

const flags = {
  ...listFlags,
  filter: {
    kind: 'strings',
    short: 'f',
    value: 'KEY=VALUE',
    help: `Only those that fit: ${Object.keys(imageFilters({ all: [], now: new Date(0) })).join(', ')}`,
  },
  digests: { kind: 'boolean', help: 'Show digests' },
  all: { kind: 'boolean', short: 'a', hidden: true, help: 'Accepted: all images are always shown' },
} as const satisfies FlagTable

export const imagesCommand: Command = defineCommand({
  name: 'images',
  usage: '[FLAGS] [PATTERN]',
  summary: 'List images, all or those whose repository, or repository and tag, is of a pattern',
  examples: [
    'images',
    'images -q app',
    "images 'team/*:1.*'",
    'images -f dangling=true',
    "images --format '{{.Repository}}:{{.Tag}}'",
  ],
  flags,
  unsupported: { tree: {} },
  arity: { min: 0, max: 1 },
  run: async ({ flags, args, environment, stdout }) => {
    const patterns = args.map(pattern => `reference=${pattern}`)
    await using store = await openStore(environment.root)
    const images = await listImages(store, wantedPlatform(undefined))
    const now = new Date()
    const fits = filterOf([...patterns, ...flags.filter], imageFilters({ all: images, now }))
    const rows = images.filter(fits).map(image => rowOf(image, { now, isFull: flags['no-trunc'] }))
    stdout.write(listOutput(rows, flags.digests ? withDigest : columns, flags))
    return 0
  },
})

const columns = {
  REPOSITORY: 'Repository',
  TAG: 'Tag',
  'IMAGE ID': 'ID',
  CREATED: 'CreatedSince',
  SIZE: 'Size',
} as const satisfies ListColumns

const { REPOSITORY, TAG, ...others } = columns
const withDigest: ListColumns = { REPOSITORY, TAG, DIGEST: 'Digest', ...others }

function rowOf(
  image: LocalImage,
  { now, isFull }: { readonly now: Date; readonly isFull: boolean },
): ListRow {
  const { reference, config, target } = image
  const created = config.value.created
  return {
    ID: isFull ? config.digest : config.digest.slice(7, 19),
    Repository: reference === undefined ? '<none>' : repositoryOf(reference),
    Tag: reference?.tag ?? '<none>',
    Digest: target.digest,
    CreatedSince: humanAge(created, now),
    CreatedAt: printable(created ?? ''),
    Size: humanSize(imageSize(image)),
  }
}

function repositoryOf(reference: NonNullable<LocalImage['reference']>): string {
  const { registry, repository } = reference
  return familiarReference({ registry, repository })
}
