/** Contexts made to hang, crash or fool a build: X08, X09, C09. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { removePath } from '../../../src/layerfs/layer/remove-tree.ts'
import { openWorkshop, type Workshop } from '../../support/build.ts'
import { describeWith } from '../../support/requires.ts'

const copyAll = 'FROM scratch\nCOPY . /c/'

describeWith(['root', 'busybox'], 'A hostile build context', () => {
  let shop: Workshop
  let contexts = 0

  beforeAll(async () => {
    shop = await openWorkshop()
  })

  afterAll(async () => {
    // Node's rm cannot remove paths that are longer than 4095 bytes.
    removePath(shop.directory)
    await shop[Symbol.asyncDispose]()
  })

  function freshContext(): string {
    contexts += 1
    const context = join(shop.directory, `context${contexts}`)
    mkdirSync(context)
    writeFileSync(join(context, 'f'), 'f')
    return context
  }

  it('may hold FIFOs, sockets and devices: none is opened, sockets are empty files', async () => {
    const context = freshContext()
    execFileSync('mkfifo', [join(context, 'fifo')])
    execFileSync('mknod', [join(context, 'zero'), 'c', '1', '5'])
    const server = createServer().listen(join(context, 'socket'))
    using built = await shop.build(copyAll, { context })
    server.close()
    expect(built.describe('/c/fifo')).toMatch(/^10/)
    expect(built.describe('/c/zero')).toMatch(/^20/)
    expect(built.describe('/c/socket')).toMatch(/^100\d{3} 0:0 0$/)
    expect(built.read('/c/f')).toBe('f')
  })

  it('may have links that go round: they are copied as links, and lead nowhere', async () => {
    const context = freshContext()
    symlinkSync('b', join(context, 'a'))
    symlinkSync('a', join(context, 'b'))
    symlinkSync('.', join(context, 'self'))
    using built = await shop.build(copyAll, { context })
    expect(built.describe('/c/a')).toMatch(/^12/)
    expect(built.read('/c/self/self/self/f')).toBe('f')
    const naming = shop.build('FROM scratch\nCOPY a /x', { context })
    await expect(naming).rejects.toThrow('not found')
  })

  it('may have names that are not UTF-8: each is a file of its own, also to the cache', async () => {
    const context = freshContext()
    const named = (byte: number) => Buffer.concat([Buffer.from(`${context}/n`), Buffer.of(byte)])
    writeFileSync(named(0xfe), 'one')
    writeFileSync(named(0xff), 'two')
    {
      using built = await shop.build(copyAll, { context })
      const copied = (byte: number) =>
        built.root.readFile(Buffer.concat([Buffer.from('/c/n'), Buffer.of(byte)]), 9).toString()
      expect([copied(0xfe), copied(0xff)]).toEqual(['one', 'two'])
    }
    writeFileSync(named(0xfe), 'six')
    for (const dockerfile of [copyAll, 'FROM scratch\nCOPY n* /c/']) {
      using built = await shop.build(dockerfile, { context })
      expect(built.cached).toEqual([])
      const path = Buffer.concat([Buffer.from('/c/n'), Buffer.of(0xfe)])
      expect(built.root.readFile(path, 9).toString()).toBe('six')
    }
    writeFileSync(named(0xfe), 'ten')
    using wild = await shop.build('FROM scratch\nCOPY n* /c/', { context })
    expect(wild.cached).toEqual([])
  })

  it('may have names of 255 bytes, and paths longer than the kernel takes at once', async () => {
    const context = freshContext()
    const name = 'n'.repeat(255)
    const script = 'cd "$1"; for i in $(seq 20); do mkdir "$2" && cd "$2"; done; echo deep > f'
    execFileSync('bash', ['-ec', script, 'bash', context, name])
    try {
      using built = await shop.build(copyAll, { context })
      expect(built.read(`/c/${`${name}/`.repeat(20)}f`)).toBe('deep\n')
      using again = await shop.build(copyAll, { context })
      expect(again.worked).toEqual([])
    } finally {
      removePath(context)
    }
  })

  it('with more levels than a layer can have is refused', async () => {
    const context = freshContext()
    const script = 'for (let i = 0; i < 5000; i++) { fs.mkdirSync("d"); process.chdir("d") }'
    execFileSync(process.execPath, ['-e', script], { cwd: context })
    try {
      await expect(shop.build(copyAll, { context })).rejects.toThrow('levels')
    } finally {
      removePath(context)
    }
  })

  it('with a hole of a terabyte is refused at once, naming the file', async () => {
    const context = freshContext()
    writeFileSync(join(context, 'hole'), 'start')
    truncateSync(join(context, 'hole'), 2 ** 40)
    await expect(shop.build(copyAll, { context })).rejects.toMatchObject({
      message: expect.stringContaining('hole'),
      hint: expect.stringContaining('.dockerignore'),
    })
  })

  it('with a file that does not tell its size is refused, naming it', async () => {
    const context = '/proc/self'
    await expect(shop.build('FROM scratch\nCOPY status /x', { context })).rejects.toThrow(
      /status.*size/,
    )
  })

  it('may change while it is read: the build ends, and a later one sees what is there', async () => {
    const context = freshContext()
    for (let i = 0; i < 300; i++) {
      mkdirSync(join(context, `d${i}`))
      writeFileSync(join(context, `d${i}`, 'f'), 'x'.repeat(3000))
    }
    let isOver = false
    const change = (async () => {
      for (let i = 0; !isOver; i = (i + 1) % 300) {
        const path = join(context, `d${i}`)
        renameSync(path, `${path}.moved`)
        symlinkSync('/etc', path)
        await new Promise(resume => setImmediate(resume))
        rmSync(path)
        renameSync(`${path}.moved`, path)
      }
    })()
    try {
      for (let i = 0; i < 3; i++) (await shop.build(copyAll, { context }))[Symbol.dispose]()
    } finally {
      isOver = true
      await change
    }
    using built = await shop.build(copyAll, { context })
    expect(built.read('/c/d7/f')).toHaveLength(3000)
  })
})
