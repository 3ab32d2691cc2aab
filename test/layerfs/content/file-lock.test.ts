import { existsSync, fstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import {
  acquireLock,
  tryAcquireLock,
  tryLock,
  withLock,
} from '../../../src/layerfs/content/file-lock.ts'
import { removeCompiled, startProcess } from './processes.ts'
import { freshDirectory, removeDirectories } from './scratch.ts'

afterAll(removeDirectories)
afterAll(removeCompiled)

function lockPath(): string {
  return join(freshDirectory(), 'locks', 'one')
}

describe('withLock', () => {
  it('lets one exclusive holder in at a time, also within a process', async () => {
    const path = lockPath()
    let inside = 0
    let most = 0
    const task = async () => {
      inside++
      most = Math.max(most, inside)
      await pause(2)
      inside--
    }
    await Promise.all(Array.from({ length: 6 }, () => withLock(path, 'exclusive', task)))
    expect(most).toBe(1)
  })

  it('lets shared holders in together, and an exclusive one only alone', async () => {
    const path = lockPath()
    await withLock(path, 'shared', async () => {
      await withLock(path, 'shared', async () => {
        expect(tryLock(path, 'exclusive')).toBeUndefined()
      })
    })
    using lock = tryLock(path, 'exclusive')
    expect(lock).toBeDefined()
  })

  it('passes the result on, and releases when the task fails', async () => {
    const path = lockPath()
    expect(await withLock(path, 'exclusive', async () => 7)).toBe(7)
    const failing = withLock(path, 'exclusive', () => Promise.reject(new Error('task failed')))
    await expect(failing).rejects.toThrow('task failed')
    using lock = tryAcquireLock(path, 'exclusive')
    expect(lock).toBeDefined()
  })

  it('leaves no file of who was alone, and that of others alone', async () => {
    const path = lockPath()
    await withLock(path, 'exclusive', async () => {})
    expect(existsSync(path)).toBe(false)
    await withLock(path, 'shared', async () => {
      await withLock(path, 'shared', async () => {})
      expect(existsSync(path)).toBe(true)
    })
  })

  it('stops waiting when its signal aborts', async () => {
    const path = lockPath()
    using _held = await acquireLock(path, 'exclusive')
    const signal = AbortSignal.timeout(20)
    const waiting = withLock(path, { mode: 'shared', signal }, async () => 'entered')
    await expect(waiting).rejects.toThrow('due to timeout')
  })
})

describe('tryAcquireLock', () => {
  it('makes the file, and lets go once: its number may be another file by then', () => {
    const lock = tryAcquireLock(join(freshDirectory(), 'one'), 'exclusive')
    lock?.[Symbol.dispose]()
    using other = tryAcquireLock(join(freshDirectory(), 'one'), 'exclusive')
    expect(other?.fd).toBe(lock?.fd)
    lock?.[Symbol.dispose]()
    expect(() => fstatSync(other?.fd ?? -1)).not.toThrow()
  })
})

describe('tryLock', () => {
  it('throws ENOENT when there is no such file, and makes none', () => {
    const path = join(freshDirectory(), 'absent')
    expect(() => tryLock(path, 'exclusive')).toThrow('ENOENT')
    expect(existsSync(path)).toBe(false)
  })

  it('locks a directory', () => {
    const path = freshDirectory()
    using lock = tryLock(path, 'exclusive')
    expect(lock).toBeDefined()
    expect(tryLock(path, 'shared')).toBeUndefined()
  })
})

describe('acquireLock', () => {
  it('(2) waits for the file that the path names now, not for one that was removed', async () => {
    const path = lockPath()
    const removed = await acquireLock(path, 'exclusive')
    const waiting = acquireLock(path, 'exclusive')
    rmSync(path)
    using current = await waiting
    removed[Symbol.dispose]()
    expect(tryLock(path, 'exclusive')).toBeUndefined()
    expect(current.fd).toBeGreaterThan(2)
  })

  it('(1) a lock ends with a killed process', async () => {
    const path = lockPath()
    const child = startProcess('hold-lock', [path])
    await child.line()
    expect(tryLock(path, 'exclusive')).toBeUndefined()
    child.kill()
    await child.ended
    using lock = tryLock(path, 'exclusive')
    expect(lock).toBeDefined()
  })

  it('excludes other processes: none of 4 × 25 increments is lost', async () => {
    const directory = freshDirectory()
    const counter = join(directory, 'counter')
    writeFileSync(counter, '0')
    const children = Array.from({ length: 4 }, () =>
      startProcess('increment', [join(directory, 'lock'), counter, '25']),
    )
    for (const child of children) expect(await child.ended).toBe(0)
    expect(readFileSync(counter, 'utf8')).toBe('100')
  })
})
