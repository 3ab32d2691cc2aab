import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { forgetSteps } from '../../src/builder/forget-steps.ts'
import { openRecords, type Records } from '../../src/layerfs/content/records.ts'
import { type ChainId, chainIds, digestOf, parseDiffId } from '../../src/oci/digest.ts'

let directory: string
let records: Records
const layers = [parseDiffId(digestOf('a')), parseDiffId(digestOf('b'))]
const soon = () => new Date(Date.now() + 60_000)

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'forget-steps-'))
  records = openRecords(directory)
  await records.put('step', 'aa', { layers, parts: {} })
  await records.put('inventory', 'bb', { f: 'f644 0:0 -' })
  await records.put('memo', 'cc', { x: 'y' })
  await records.put('step', 'dd', { damaged: true })
})

afterEach(() => rm(directory, { recursive: true }))

const left = async () => {
  const found: string[] = []
  for (const kind of ['step', 'inventory', 'memo']) {
    for await (const { hex } of records.list(kind)) found.push(hex)
  }
  return found
}

const nothing: ReadonlySet<ChainId> = new Set()

test('forgetSteps() keeps what is younger, and tells the filesystems it names', async () => {
  const { removedSteps, chains } = await forgetSteps(records, {
    before: new Date(0),
    held: nothing,
  })
  expect(removedSteps).toBe(0)
  expect(chains).toEqual([...chainIds(layers)].slice(-1))
  expect(await left()).toEqual(['aa', 'dd', 'bb', 'cc'])
})

test('forgetSteps() removes what is older, damaged records included', async () => {
  const forgetting = { before: soon(), held: nothing }
  expect(await forgetSteps(records, forgetting)).toEqual({ removedSteps: 2, chains: [] })
  expect(await left()).toEqual([])
})

test('forgetSteps() keeps the steps of filesystems that a running build holds', async () => {
  const [chain] = chainIds(layers).slice(-1)
  const held = new Set(chain === undefined ? [] : [chain])
  const { removedSteps, chains } = await forgetSteps(records, { before: soon(), held })
  expect({ removedSteps, chains }).toEqual({ removedSteps: 1, chains: [chain] })
})
