import {
  layerChanges,
  type PathChange,
  pathText,
  treeChanges,
} from '../../layerfs/layer/list-changes.ts'
import { openRoot } from '../../layerfs/layer/rootfs.ts'
import { openStore } from '../../layerfs/store.ts'
import { printable } from '../../oci/errors.ts'
import { field } from '../../oci/json.ts'
import { usageError } from '../cli-error.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { assertRoot } from '../privileges.ts'
import { type Filesystem, findFilesystem } from './filesystem.ts'

export const diffCommand: Command = defineCommand({
  name: 'diff',
  usage: '[FLAGS] CONTAINER|IMAGE|#STEP [CONTAINER|IMAGE|#STEP]',
  summary: 'List what was added (A), changed (C) and deleted (D)',
  examples: ['diff 3f2a9c', 'diff app', 'diff app:1 app:2', 'diff --layers app', 'diff #5 #7'],
  flags: {
    layers: { kind: 'boolean', help: 'By layer, lowest first, with its size' },
    format: {
      kind: 'choice',
      choices: ['text', 'json'],
      default: 'text',
      help: 'Lines for people, or a JSON object in each',
    },
  },
  arity: { min: 1, max: 2 },
  run: async ({ flags, args: [text = '', other], ...context }) => {
    if (flags.layers && other !== undefined) {
      throw usageError('Flag --layers is for one container or image')
    }
    assertRoot('look into layers')
    await using store = await openStore(context.environment.root)
    const found = await findFilesystem(store, text, context)
    const print = printer(context, flags.format)
    if (other !== undefined) {
      const after = await findFilesystem(store, other, context)
      for (const change of changesBetween(found, after)) print(change)
    } else if (flags.layers) {
      printLayers(found, { print, context, format: flags.format })
    } else {
      const [upper, ...lower] = found.layers
      if (upper !== undefined) for (const change of layerChanges({ upper, lower })) print(change)
    }
    return 0
  },
})

type Print = (change: PathChange, layer?: number) => void

const letters = { added: 'A', changed: 'C', deleted: 'D' } as const

function printer({ stdout, signal }: CliContext, format: string): Print {
  return ({ kind, path, size, mode, owner, differences }, layer) => {
    signal.throwIfAborted()
    const text = pathText(path)
    const letter = letters[kind]
    const line =
      format === 'json'
        ? JSON.stringify({
            ...(layer === undefined ? {} : { layer }),
            kind: letter,
            path: text,
            size,
            ...field('mode', mode),
            ...field('owner', owner),
            ...field('differences', differences),
          })
        : `${letter} ${printable(text, 4096)}${detailText({ kind, size, mode, owner, differences })}`
    stdout.write(`${line}\n`)
  }
}

/** Between two trees: what it is now, or in what it differs. */
function detailText({
  kind,
  size,
  mode,
  owner,
  differences,
}: Pick<PathChange, 'kind' | 'size'> & {
  readonly [Name in 'mode' | 'owner' | 'differences']: PathChange[Name] | undefined
}): string {
  if (kind === 'added') return mode === undefined ? '' : `  (${mode} ${owner}, ${humanSize(size)})`
  if (differences === undefined) return ''
  const told = differences.map(({ what, from, to }) =>
    from === undefined ? what : `${what} ${printable(from)} → ${printable(to ?? '')}`,
  )
  return `  (${told.join(', ')})`
}

function* changesBetween(before: Filesystem, after: Filesystem): Generator<PathChange> {
  using old = rootOf(before)
  using now = rootOf(after)
  yield* treeChanges(old, now)
}

function rootOf({ layers }: Filesystem) {
  if (layers.length === 0) throw usageError('Cannot compare an image without files')
  return openRoot({ kind: 'overlay', lower: layers })
}

interface LayerOutput {
  readonly print: Print
  readonly context: CliContext
  readonly format: string
}

function printLayers(found: Filesystem, { print, context, format }: LayerOutput): void {
  const count = found.layers.length
  for (let number = 1; number <= count; number++) {
    const [upper = '', ...lower] = found.layers.slice(count - number)
    const changes = [...layerChanges({ upper, lower })]
    if (format === 'text') {
      const size = changes.reduce((sum, change) => sum + change.size, 0)
      context.stdout.write(`${headOf(found, { number, count, size })}\n`)
    }
    for (const change of changes) print(change, number)
  }
}

interface LayerHead {
  readonly number: number
  readonly count: number
  readonly size: number
}

/** `# 2/3  sha256:…  5.1kB in files, 2.3kB packed  RUN make` */
function headOf(found: Filesystem, { number, count, size }: LayerHead): string {
  const place = `# ${number}/${count}`
  const files = `${humanSize(size)} in files`
  if (found.kind === 'container') {
    return number === count ? `${place}  the container's own  ${files}` : `${place}  ${files}`
  }
  if (found.kind === 'step') return `${place}  ${files}`
  const { manifest, config } = found.image
  const packed = manifest.value.layers[number - 1]?.size ?? 0
  const diffId = config.value.rootfs.diff_ids[number - 1] ?? ''
  const step = config.value.history.filter(({ empty_layer }) => empty_layer !== true)[number - 1]
  const title = printable(step?.created_by ?? step?.comment ?? '', 80)
  return `${place}  ${diffId.slice(0, 19)}  ${files}, ${humanSize(packed)} packed  ${title}`.trimEnd()
}
