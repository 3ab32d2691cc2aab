import { execFileSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeOutputFile } from '../../src/cli/output-file.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'output-file-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) {
    if (text === 'fail') throw new Error('No more bytes')
    yield Buffer.from(text)
  }
}

describe('writeOutputFile()', () => {
  it('replaces a file at once, with the mode that the umask gives', async () => {
    const path = join(directory, 'out.tar')
    writeFileSync(path, 'old')
    await writeOutputFile(path, chunks('new', 'er'))
    expect(readFileSync(path, 'utf8')).toBe('newer')
    expect(lstatSync(path).mode & 0o777).toBe(0o666 & ~process.umask())
    expect(readdirSync(directory)).toEqual(['out.tar'])
  })

  it('leaves the old file, and nothing else, when the bytes end with an error', async () => {
    const path = join(directory, 'out.tar')
    writeFileSync(path, 'old')
    await expect(writeOutputFile(path, chunks('new', 'fail'))).rejects.toThrow('No more bytes')
    expect(readFileSync(path, 'utf8')).toBe('old')
    expect(readdirSync(directory)).toEqual(['out.tar'])
  })

  it('leaves nothing when it is aborted', async () => {
    const path = join(directory, 'out.tar')
    const writing = writeOutputFile(path, chunks('new'), AbortSignal.abort())
    await expect(writing).rejects.toThrow('abort')
    expect(readdirSync(directory)).toEqual([])
  })

  it('writes into a FIFO and leaves it one: a rename would take /dev/null away', async () => {
    const path = join(directory, 'fifo')
    execFileSync('mkfifo', [path])
    const [text] = await Promise.all([readFile(path, 'utf8'), writeOutputFile(path, chunks('x'))])
    expect(text).toBe('x')
    expect(lstatSync(path).isFIFO()).toBe(true)
  })

  it('writes through a link, as into /dev/stdout', async () => {
    const [path, target] = [join(directory, 'link'), join(directory, 'target')]
    symlinkSync(target, path)
    await writeOutputFile(path, chunks('x'))
    expect(lstatSync(path).isSymbolicLink()).toBe(true)
    expect(readFileSync(target, 'utf8')).toBe('x')
  })

  it('makes no directory', async () => {
    const path = join(directory, 'missing', 'out.tar')
    await expect(writeOutputFile(path, chunks('x'))).rejects.toThrow(
      `Cannot write "${path}": there is no directory "${join(directory, 'missing')}"`,
    )
    expect(existsSync(join(directory, 'missing'))).toBe(false)
  })

  it('names the file that the user named, and why it was not written', async () => {
    const full = writeOutputFile('/dev/full', chunks('x'))
    await expect(full).rejects.toThrow('Cannot write "/dev/full": no space left on device (ENOSPC)')
    const onto = writeOutputFile(directory, chunks('x'))
    await expect(onto).rejects.toThrow(`Cannot write "${directory}": it is a directory`)
  })
})
