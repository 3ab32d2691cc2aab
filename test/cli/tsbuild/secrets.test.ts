/** `--secret`: what a step gets, and what is said when it cannot be had. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { maxSecretSize } from '../../../src/builder/steps/step-world.ts'
import { secretSource } from '../../../src/cli/tsbuild/secrets.ts'

const root = mkdtempSync(join(tmpdir(), 'secrets-'))
afterAll(() => rmSync(root, { recursive: true }))
const file = join(root, 'token')
writeFileSync(file, 'of a file')
mkdirSync(join(root, 'directory'))

const environment: Readonly<Record<string, string>> = { TOKEN: 'of a variable', EMPTY: '' }
const lookup = (name: string) => environment[name]
const read = async (text: string, id: string) => {
  const content = await secretSource([text], lookup)(id)
  return content === undefined ? undefined : Buffer.from(content).toString()
}

test.each([
  [`id=x,src=${file}`, 'x', 'of a file'],
  [`type=file,id=x,source=${file}`, 'x', 'of a file'],
  [`src=${file}`, 'token', 'of a file'],
  ['id=x,env=TOKEN', 'x', 'of a variable'],
  ['id=TOKEN', 'TOKEN', 'of a variable'],
  ['id=x,env=EMPTY', 'x', ''],
  ['id=x,env=TOKEN', 'y', undefined],
])('--secret %s has for %s: %s', async (text, id, content) => {
  expect(await read(text, id)).toBe(content)
})

const named = 'Name a file that can be read: --secret id=NAME,src=FILE'
test.each([
  [`id=x,src=${root}/none`, `from "${root}/none": no such file or directory (ENOENT)`, named],
  [
    `id=x,src=${root}/directory`,
    `from "${root}/directory": illegal operation on a directory`,
    named,
  ],
  [`id=x,src=${file}/x`, `from "${file}/x": not a directory (ENOTDIR)`, named],
  // The tilde is the shell's, which did not see one.
  ['id=x,src=~/none', `from "${process.cwd()}/~/none": no such file`, named],
  [
    'id=x',
    `from "${process.cwd()}/x": no such file`,
    'No variable has that name either; say where',
  ],
  [
    'id=x,env=NONE',
    'Cannot read secret "x": variable "NONE" is not set',
    'Export it, or name a file',
  ],
])('--secret %s that cannot be read says %s', async (text, message, hint) => {
  await expect(read(text, 'x')).rejects.toThrow(
    expect.objectContaining({
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    }),
  )
})

test('of a file without an end no more is read than tells so', async () => {
  expect(await secretSource(['id=x,src=/dev/zero'], lookup)('x')).toHaveLength(maxSecretSize + 1)
  const fifo = join(root, 'fifo')
  execFileSync('mkfifo', [fifo])
  const [content] = await Promise.all([
    read(`id=x,src=${fifo}`, 'x'),
    writeFile(fifo, 'through a pipe'),
  ])
  expect(content).toBe('through a pipe')
})
