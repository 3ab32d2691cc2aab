import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DockerfileError } from '../../src/builder/dockerfile/error.ts'
import { explainForeign, foreignProblem } from '../../src/builder/foreign-programs.ts'
import { OciError } from '../../src/oci/errors.ts'
import { parsePlatform } from '../../src/oci/platform.ts'

const aarch64 = '7f454c460201010000000000000000000200b700'
const s390x = '7f454c460202010000000000000000000002 0016'.replace(' ', '')

function handler(magic: string, { state = 'enabled', flags = 'OCF' } = {}): string {
  return `${state}\ninterpreter /usr/bin/qemu\nflags: ${flags}\noffset 0\nmagic ${magic}\nmask ff\n`
}

describe('foreignProblem()', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tsbuild-binfmt-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  const problem = (platform: string, files: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
    return foreignProblem(parsePlatform(platform), directory)
  }

  test('knows a handler by the machine in its magic, whatever it is called', () => {
    const status = 'enabled\n'
    expect(problem('linux/arm64', { status, rosetta: handler(aarch64) })).toBeUndefined()
    expect(problem('linux/s390x', { status, big: handler(s390x) })).toBeUndefined()
  })

  test('says what to install for a machine without one', () => {
    expect(problem('linux/riscv64', { status: 'enabled\n', other: handler(aarch64) })).toMatch(
      /^no handler qemu-riscv64 is in .*: install qemu-user-static/,
    )
  })

  test('says when it is off, not for containers, or the kernel’s list is not mounted', () => {
    const status = 'enabled\n'
    const off = handler(aarch64, { state: 'disabled' })
    expect(problem('linux/arm64', { status, 'qemu-aarch64': off })).toContain('is off: echo 1 >')
    const unfixed = handler(aarch64, { flags: 'OC' })
    expect(problem('linux/arm64', { status, 'qemu-aarch64': unfixed })).toContain('without flag F')
    expect(foreignProblem(parsePlatform('linux/arm64'), join(directory, 'none'))).toContain(
      'binfmt_misc is not mounted',
    )
  })

  test('is told with the error, at the error’s line, for another machine’s programs alone', () => {
    const span = { startLine: 3, endLine: 3, start: 0, end: 1 }
    const failed = new DockerfileError('Cannot run "/x": … (ENOEXEC)', { span, file: 'Dockerfile' })
    const host = parsePlatform('linux/amd64')
    expect(explainForeign(failed, parsePlatform('linux/mips64le'), host)).toMatchObject({
      message: failed.message,
      span,
      hint: expect.stringContaining(
        'The step is for linux/mips64le and this machine is linux/amd64',
      ),
    })
    expect(explainForeign(failed, host, host)).toBe(failed)
    const other = new OciError('denied', 'exit code: 1')
    expect(explainForeign(other, parsePlatform('linux/arm64'), host)).toBe(other)
  })
})
