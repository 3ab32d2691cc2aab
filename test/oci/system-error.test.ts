import { mkdirSync, openSync, readFileSync, renameSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isSystemError, systemMessage, systemReason } from '../../src/oci/system-error.ts'

function failureOf(call: () => unknown): NodeJS.ErrnoException {
  try {
    call()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('Expected the kernel to refuse')
}

describe('systemMessage()', () => {
  it.each([
    [() => openSync('/no/such', 'r'), 'Cannot open "/no/such": no such file or directory (ENOENT)'],
    [() => mkdirSync('/proc'), 'Cannot make directory "/proc": file already exists (EEXIST)'],
    [() => readFileSync('/'), 'Cannot read: illegal operation on a directory (EISDIR)'],
    [
      () => renameSync('/no/a', '/no/b'),
      'Cannot rename "/no/a" to "/no/b": no such file or directory (ENOENT)',
    ],
  ])('tells what %s was refused', (call, message) => {
    expect(systemMessage(failureOf(call))).toBe(message)
  })

  it.each([
    ['copy_file_range', undefined, 'Cannot copy: no space left on device (ENOSPC)'],
    ['utimensat', 'a', 'Cannot change the times of "a": no space left on device (ENOSPC)'],
    ['openat2', 'a/b', 'Cannot open "a/b": no space left on device (ENOSPC)'],
    ['setxattr', 'user.a', 'Cannot set attribute "user.a": no space left on device (ENOSPC)'],
  ])('has a word for the %s of native code', (syscall, path, message) => {
    const error = { errno: -28, syscall, ...(path === undefined ? {} : { path }) }
    expect(systemMessage(Object.assign(new Error('as it came'), error))).toBe(message)
  })

  it('lets no name reach the terminal as it is', () => {
    const error = failureOf(() => openSync('/no/\u001b[2J', 'r'))
    expect(systemMessage(error)).toContain('"/no/\\u001b[2J"')
  })

  it('leaves the message of a call that it has no word for', () => {
    const error = Object.assign(new Error('EINVAL: so'), { errno: -22, syscall: 'frobnicate' })
    expect(systemMessage(error)).toBe('EINVAL: so')
  })
})

describe('isSystemError()', () => {
  it('is so of the kernel’s errors alone', () => {
    expect(isSystemError(failureOf(() => openSync('/no/such', 'r')))).toBe(true)
    expect(isSystemError(new Error('ENOENT'))).toBe(false)
    expect(isSystemError(Object.assign(new Error(), { errno: 123_456 }))).toBe(false)
  })

  it('systemReason() is the message of any other', () => {
    expect(systemReason(new Error('why'))).toBe('why')
  })
})
