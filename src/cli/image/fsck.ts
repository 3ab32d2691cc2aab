import { cachedLayers } from '../../builder/cache-use.ts'
import { checkStore } from '../../layerfs/image/check-store.ts'
import { type Problem, type Repair, repairStore } from '../../layerfs/image/repair-store.ts'
import { measureStore, type StoreUse, useKinds } from '../../layerfs/image/store-use.ts'
import { openStore, type Store } from '../../layerfs/store.ts'
import { hasCode, printable } from '../../oci/errors.ts'
import { familiarReference } from '../../oci/reference.ts'
import { type CliContext, type Command, defineCommand } from '../command.ts'
import { humanSize } from '../human.ts'
import { formatTable } from '../lists/table.ts'
import { assertRoot } from '../privileges.ts'
import { whenFree } from './when-free.ts'

export const fsckCommand: Command = defineCommand({
  name: 'fsck',
  usage: '[FLAGS]',
  summary: 'Check every byte of the store, and repair it',
  examples: ['fsck', 'fsck --repair', 'fsck --quick'],
  flags: {
    repair: { kind: 'boolean', help: 'Remove what is damaged, and make it again where possible' },
    quick: { kind: 'boolean', help: 'Do not read what files contain' },
    format: {
      kind: 'choice',
      choices: ['text', 'json'],
      default: 'text',
      help: 'For people, or one JSON document',
    },
  },
  arity: { min: 0, max: 0 },
  run: async ({ flags, ...context }) => {
    assertRoot('check the store')
    await using store = await openStore(context.environment.root)
    const found = await checkAll(store, flags.quick, context)
    const repairs = flags.repair ? await repaired(store, found.problems, context) : []
    context.stdout.write(flags.format === 'json' ? asJson(found, repairs) : asText(found, repairs))
    const left = found.problems.filter(isFault).length - repairs.filter(isRemoved).length
    return left === 0 ? 0 : 1
  },
})

interface Found {
  readonly problems: readonly Problem[]
  readonly use: StoreUse
}

async function checkAll(store: Store, isQuick: boolean, { signal }: CliContext): Promise<Found> {
  const problems: Problem[] = []
  const contents = isQuick ? 'trusted' : 'read'
  for await (const finding of checkStore(store, { contents, signal })) problems.push(finding)
  const cached = await cachedLayers(store).catch(ignoreDamage)
  const use = await measureStore(
    store,
    cached.map(({ name }) => name),
  )
  problems.push(...use.strays.map(path => ({ kind: 'stray', path }) as const))
  return { problems, use }
}

/** A snapshot without those below it: found by the check. */
function ignoreDamage(error: unknown): [] {
  if (!hasCode(error, 'not-found')) throw error
  return []
}

/** A layer that was never pulled is no fault: it comes when it is needed. */
function isFault({ kind }: Problem): boolean {
  return kind !== 'missing-layer'
}

function isRemoved({ outcome }: Repair): boolean {
  return outcome === 'removed'
}

async function repaired(
  store: Store,
  problems: readonly Problem[],
  context: CliContext,
): Promise<Repair[]> {
  const faults = problems.filter(isFault)
  return faults.length === 0 ? [] : await whenFree(() => repairStore(store, faults), context)
}

function asJson({ problems, use }: Found, repairs: readonly Repair[]): string {
  const outcomes = new Map(repairs.map(repair => [repair.problem, repair]))
  const documents = problems.map(problem => ({
    kind: problem.kind,
    description: describe(problem),
    isFault: isFault(problem),
    outcome: outcomes.get(problem)?.outcome,
    reason: outcomes.get(problem)?.reason,
  }))
  return `${JSON.stringify({ problems: documents, use: use.kinds }, undefined, 2)}\n`
}

function asText({ problems, use }: Found, repairs: readonly Repair[]): string {
  const outcomes = new Map(repairs.map(repair => [repair.problem, repair]))
  const lines = problems.map(problem => {
    const repair = outcomes.get(problem)
    const outcome = repair === undefined ? '' : ` — ${repair.reason ?? repair.outcome}`
    return `${isFault(problem) ? 'fault' : 'note '}  ${describe(problem)}${outcome}\n`
  })
  const faults = problems.filter(isFault).length
  const fixed = repairs.filter(isRemoved).length
  const verdict =
    faults === 0
      ? 'No faults\n'
      : `${faults} fault${faults === 1 ? '' : 's'}${fixed === 0 ? '' : `, ${fixed} repaired`}\n`
  return `${lines.join('')}${tableOf(use)}${verdict}`
}

/** Every byte of the store is in one row. */
function tableOf({ kinds }: StoreUse): string {
  const total = { files: 0, bytes: 0 }
  const rows = useKinds.map(kind => {
    const { files, bytes } = kinds[kind]
    total.files += files
    total.bytes += bytes
    return [kind, String(files), humanSize(bytes)]
  })
  rows.push(['total', String(total.files), humanSize(total.bytes)])
  return formatTable(['KIND', 'FILES', 'SIZE'], rows)
}

function describe(problem: Problem): string {
  switch (problem.kind) {
    case 'damaged-blob':
      return `blob ${problem.blob.digest} has other bytes`
    case 'damaged-image':
      return `image ${nameOf(problem.image)}: ${printable(problem.reason)}`
    case 'missing-layer':
      return `image ${nameOf(problem.image)}: layer ${problem.layer.digest} is not here`
    case 'damaged-snapshot':
      return `layer ${problem.name}: ${problem.reason}`
    case 'damaged-record':
      return `${printable(problem.path)} cannot be read`
    case 'orphan':
      return `${problem.path}: the layer it builds on, ${problem.parent}, is gone`
    case 'stray':
      return `${printable(problem.path)} belongs to nothing`
  }
}

function nameOf({
  reference,
  target,
}: Extract<Problem, { kind: 'damaged-image' }>['image']): string {
  return reference === undefined ? target.digest : familiarReference(reference)
}
