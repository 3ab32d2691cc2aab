import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findContainer, listContainers } from '../../../src/layerfs/runtime/container-list.ts'
import { openStore } from '../../../src/layerfs/store.ts'

const record = {
  image: 'busybox',
  imageId: 'sha256:1',
  argv: ['sh'],
  createdAt: '2026-01-01T00:00:00Z',
  startedAt: '2026-01-01T00:00:00Z',
  lifetime: 'kept',
}

async function withStore(use: (store: Awaited<ReturnType<typeof openStore>>) => Promise<void>) {
  const root = await mkdtemp(join(tmpdir(), 'cli-eng-containers-'))
  try {
    await using store = await openStore(root)
    await use(store)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

describe('listContainers()', () => {
  test('lists newest first, running and ended', () =>
    withStore(async store => {
      const ended = await store.containers.create(undefined, record)
      ended[Symbol.dispose]()
      using running = await store.containers.create(undefined, {
        ...record,
        name: 'web',
        createdAt: '2026-01-02T00:00:00Z',
      })
      expect(await listContainers(store.containers)).toMatchObject([
        { id: running.id, isRunning: true, record: { name: 'web' } },
        { id: ended.id, isRunning: false },
      ])
    }))

  test('keeps one that is to go at its end and was only created', () =>
    withStore(async store => {
      const { startedAt: _, ...created } = { ...record, lifetime: 'removed-at-end' }
      const waiting = await store.containers.create(undefined, created)
      waiting[Symbol.dispose]()
      const listed = await listContainers(store.containers)
      expect(listed.map(({ id }) => id)).toEqual([waiting.id])
    }))

  test('removes what a killed --rm run left, and nothing that runs', () =>
    withStore(async store => {
      const temporary = { ...record, lifetime: 'removed-at-end' }
      const killed = await store.containers.create(undefined, temporary)
      killed[Symbol.dispose]()
      using running = await store.containers.create(undefined, temporary)
      const listed = await listContainers(store.containers)
      expect(listed.map(({ id }) => id)).toEqual([running.id])
    }))

  test('shows a container with a damaged record, which can be removed', () =>
    withStore(async store => {
      const damaged = await store.containers.create(undefined, { lifetime: 'forever' })
      damaged[Symbol.dispose]()
      const [found] = await listContainers(store.containers)
      expect(found).toEqual({
        id: damaged.id,
        path: damaged.path,
        isRunning: false,
        record: undefined,
      })
    }))
})

describe('findContainer()', () => {
  const containers = [
    {
      id: `ab${'0'.repeat(62)}`,
      path: '/x',
      isRunning: false,
      record: { ...record, name: 'web' } as never,
    },
    { id: `ac${'0'.repeat(62)}`, path: '/x', isRunning: false, record: undefined },
  ]

  test.each([
    ['web', 0],
    ['ab', 0],
    ['ac0', 1],
  ])('finds "%s"', (text, index) => {
    expect(findContainer(containers, text)).toBe(containers[index])
  })

  test.each([
    ['a', 'invalid'],
    ['x', 'not-found'],
    ['', 'not-found'],
  ])('refuses "%s" as %s', (text, code) => {
    expect(() => findContainer(containers, text)).toThrow(expect.objectContaining({ code }))
  })
})
