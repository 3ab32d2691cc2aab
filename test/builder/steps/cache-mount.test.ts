import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type CacheMount,
  type HeldCaches,
  holdCaches,
} from '../../../src/builder/steps/cache-mount.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cache-mounts-'))
})
afterEach(() => rmSync(root, { recursive: true }))

function mount(id: string, sharing: CacheMount['sharing'], extra: Partial<CacheMount> = {}) {
  const defaults = { kind: 'cache', target: `/${id}`, readOnly: false, from: undefined } as const
  return { ...defaults, id, sharing, ...extra } as CacheMount
}

const hold = (mounts: readonly CacheMount[], patienceMs = 5000): Promise<HeldCaches> =>
  holdCaches(root, mounts, AbortSignal.timeout(patienceMs))

const openFiles = () => readdirSync('/proc/self/fd').length

describe('holdCaches() (R10)', () => {
  it('makes a private directory where there was none', async () => {
    using caches = await hold([mount('a', 'private')])
    expect(lstatSync(caches.pathOf('a')).mode & 0o7777).toBe(0o755)
  })

  it('gives each private user a directory of its own, and the first one again', async () => {
    const first = await hold([mount('a', 'private')])
    using second = await hold([mount('a', 'private')])
    expect(second.pathOf('a')).not.toBe(first.pathOf('a'))
    first[Symbol.dispose]()
    using third = await hold([mount('a', 'private')])
    expect(third.pathOf('a')).toBe(first.pathOf('a'))
  })

  it('holds an id once that several mounts of a RUN name, alone when one of them asks', async () => {
    using caches = await hold([mount('a', 'shared'), mount('a', 'locked', { target: '/b' })])
    expect(basename(caches.pathOf('a'))).toBe('0')
    await expect(hold([mount('a', 'shared')], 50)).rejects.toThrow('due to timeout')
  })

  it('never has two RUNs wait for each other, whatever order they name ids in', async () => {
    const pair = [mount('a', 'locked'), mount('b', 'locked')]
    const both = async (mounts: readonly CacheMount[]) => {
      for (let i = 0; i < 50; i++) {
        using _caches = await hold(mounts, 20_000)
        await Promise.resolve()
      }
    }
    await Promise.all([both(pair), both([...pair].reverse())])
  })

  it('makes a directory with owner and mode, also after one was killed half-way', async () => {
    const wanted = mount('a', 'shared', { mode: 0o1777 })
    using first = await hold([wanted])
    const path = first.pathOf('a')
    rmSync(path, { recursive: true })
    mkdirSync(`${path}.new`, { mode: 0o700 })
    using again = await hold([wanted])
    expect(lstatSync(again.pathOf('a')).mode & 0o7777).toBe(0o1777)
    expect(readdirSync(dirname(path)).sort()).toEqual(['0', '0.lock'])
  })

  it('lets go of everything when a directory cannot be made', async () => {
    const mounts = [mount('a', 'locked'), mount('b', 'locked')]
    using first = await hold(mounts)
    const path = first.pathOf('b')
    first[Symbol.dispose]()
    rmSync(path, { recursive: true })
    mkdirSync(`${path}.making`)
    const before = openFiles()
    for (let i = 0; i < 100; i++) await expect(hold(mounts)).rejects.toThrow('EISDIR')
    expect(openFiles()).toBe(before)
  })

  it('takes an id for a name, not for a path', async () => {
    using caches = await hold([mount('../../../etc', 'shared')])
    writeFileSync(join(caches.pathOf('../../../etc'), 'x'), '')
    expect(caches.pathOf('../../../etc').startsWith(root)).toBe(true)
  })
})
