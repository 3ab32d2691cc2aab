import { execFileSync } from 'node:child_process'
import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

describeWith(['root', 'busybox'], 'Files of a build context', () => {
  let shop: Workshop
  let context: string

  beforeAll(async () => {
    shop = await openWorkshop()
    context = join(shop.directory, 'context')
    shop.write({ Dockerfile: 'text', '.dockerignore': 'text', 'wanted/f': 'f', 'other/g': 'g' })
  })

  afterAll(async () => {
    await shop[Symbol.asyncDispose]()
  })

  it('X06 leaves out the Dockerfile and .dockerignore when they are ignored', async () => {
    using built = await shop.build('FROM scratch\nCOPY . /c/', {
      ignore: 'Dockerfile\n.dockerignore',
    })
    expect(built.root.exists('/c/wanted/f')).toBe(true)
    expect(built.root.exists('/c/Dockerfile')).toBe(false)
    expect(built.root.exists('/c/.dockerignore')).toBe(false)
    using whole = await shop.build('FROM scratch\nCOPY . /c/')
    expect(whole.read('/c/Dockerfile')).toBe('text')
  })

  it('X04 X05 names an ignore pattern that is malformed', async () => {
    for (const ignore of ['!', 'a[']) {
      await expect(shop.build('FROM scratch\nCOPY . /c/', { ignore })).rejects.toMatchObject({
        message: expect.stringContaining(ignore),
      })
    }
  })

  it('X08 looks at nothing that no step names: neither a FIFO nor a change there matters', async () => {
    execFileSync('mkfifo', [join(context, 'other/fifo')])
    const dockerfile = 'FROM scratch\nCOPY wanted /w/'
    using first = await shop.build(dockerfile)
    expect(first.worked).toHaveLength(1)
    shop.write({ 'other/g': 'changed' })
    rmSync(join(context, 'other/fifo'))
    using again = await shop.build(dockerfile)
    expect(again.worked).toEqual([])
  })

  it('X09 keeps links inside the context: an absolute one starts at its root', async () => {
    symlinkSync('/wanted/f', join(context, 'absolute'))
    symlinkSync('../../../wanted', join(context, 'up'))
    symlinkSync('/etc/passwd', join(context, 'outside'))
    using built = await shop.build('FROM scratch\nCOPY absolute /a\nCOPY up/f /u')
    expect(built.read('/a')).toBe('f')
    expect(built.read('/u')).toBe('f')
    await expect(shop.build('FROM scratch\nCOPY outside /o')).rejects.toThrow('not found')
  })
})
