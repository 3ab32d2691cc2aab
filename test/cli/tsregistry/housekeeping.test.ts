import { pino } from 'pino'
import { expect, it } from 'vitest'
import { startHousekeeping } from '../../../src/cli/tsregistry/housekeeping.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'
import { startUpload } from '../../../src/registry/storage/uploads.ts'

const century = 100 * 365 * 24 * 3600_000
const hour = 3600_000

async function housekept(isDryRun: boolean) {
  const objects = new MemoryObjectStore()
  const clock = { at: Date.parse('2026-01-01') }
  const storage = createRegistryStorage(objects, { now: () => new Date(clock.at) })
  const old = await startUpload(storage, 'app' as never)
  clock.at += 2 * hour
  const recent = await startUpload(storage, 'app' as never)
  const lines: string[] = []
  const log = pino({}, { write: (line: string) => void lines.push(line) })
  await using _ = startHousekeeping(storage, {
    intervalMs: 0,
    graceMs: hour,
    uploadExpiryMs: century,
    purging: { ageMs: hour, everyMs: century, isDryRun },
    log,
  })
  for (let turn = 0; turn < 100 && lines.length === 0; turn++) await new Promise(setImmediate)
  return { old, recent, lines, left: await objects.list('u/', { max: 10 }) }
}

it('purges uploads that are older than their age, at an interval of its own', async () => {
  const { recent, lines, left } = await housekept(false)
  expect(left).toEqual([`u/${recent.id}`])
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ uploads: 1 })
})

it('says in a dry run which it would purge, and purges none', async () => {
  const { old, lines, left } = await housekept(true)
  expect(left).toHaveLength(2)
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ upload: old.id, repository: 'app', bytes: 0 })
})
