import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { watch } from '../../../../src/registry/server/access/watched-file.ts'

const root = mkdtempSync(join(tmpdir(), 'tsregistry-watched-'))
afterAll(() => rmSync(root, { recursive: true }))

it('a watched file is not read between its being emptied and its being written', async () => {
  const path = join(root, 'users')
  writeFileSync(path, 'first')
  const read: string[] = []
  const load = async () => {
    const text = await readFile(path, 'utf8')
    read.push(text)
    return text
  }
  using watched = await watch({ path, load, onError: () => {} })
  for (const until = Date.now() + 3500; Date.now() < until; await sleep(20)) {
    writeFileSync(path, '')
    await sleep(20)
    writeFileSync(path, 'second')
  }
  await expect.poll(() => watched.current(), { timeout: 5000 }).toBe('second')
  expect(read).toEqual(['first', 'second'])
})
