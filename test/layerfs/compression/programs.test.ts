import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { decompress, type Encoding } from '../../../src/layerfs/compression/decompress.ts'
import { programPath, throughProgram } from '../../../src/layerfs/compression/through-program.ts'

async function unpack(packed: Uint8Array, encoding: Encoding): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const part of decompress([packed], encoding)) parts.push(part)
  return Buffer.concat(parts).toString()
}

it.each(['xz', 'bzip2', 'zstd'] as const)(
  'no %s of an image, or of the user, is started to decompress (CVE-2026-41567, CVE-2014-9357)',
  async encoding => {
    const directory = mkdtempSync(join(tmpdir(), 'programs-'))
    const path = process.env['PATH']
    try {
      const packed = execFileSync(encoding, ['-c'], { input: 'content' })
      writeFileSync(join(directory, encoding), `#!/bin/sh\ntouch ${directory}/started\n`)
      chmodSync(join(directory, encoding), 0o755)
      process.env['PATH'] = `${directory}:${path}`
      expect(await unpack(packed, encoding)).toBe('content')
      expect(existsSync(join(directory, 'started'))).toBe(false)
    } finally {
      process.env['PATH'] = path
      rmSync(directory, { recursive: true })
    }
  },
)

it('a program that the system lacks is named, with the package that has it', async () => {
  expect(programPath('no-such-program')).toBeUndefined()
  const missing = {
    action: 'compress',
    program: 'no-such-program',
    args: [],
    package: 'p',
  } as const
  const read = async () => {
    for await (const _ of throughProgram([], missing));
  }
  await expect(read()).rejects.toMatchObject({
    code: 'unsupported',
    message: 'Cannot compress: no program "no-such-program"',
    hint: expect.stringContaining('apt-get install p'),
  })
})

it('a program that fails is quoted', async () => {
  await expect(unpack(Buffer.from('no xz data'), 'xz')).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringMatching(/^Cannot decompress: xz says ".+"$/),
  })
})
