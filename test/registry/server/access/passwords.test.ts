/** Passwords: files, hashes, time and cost (registry §7: Basic). */
import { hashSync } from 'bcryptjs'
import { describe, expect, it } from 'vitest'
import { parseAuthorization } from '../../../../src/registry/server/access/authorization.ts'
import { createPasswordCheck } from '../../../../src/registry/server/access/check-password.ts'
import { hashOfNobody, parseHtpasswd } from '../../../../src/registry/server/access/htpasswd.ts'

const hash = hashSync('secret', 4)

describe('parseHtpasswd()', () => {
  it('reads users of every spelling of bcrypt, comments and empty lines', () => {
    const rest = hash.slice(4)
    const text = `# x\n\n a:$2a$${rest}\r\nb c:$2b$${rest}\nü:$2y$${rest}`
    expect([...parseHtpasswd('f', text).keys()]).toEqual(['a', 'b c', 'ü'])
  })

  it.each([
    [
      'a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=',
      'line 2: the hash is not bcrypt: make it with htpasswd -B',
    ],
    ['a:$apr1$x$y', 'line 2: the hash is not bcrypt'],
    ['a:secret', 'line 2: the hash is not bcrypt'],
    [`a:$2x$${hash.slice(4)}`, 'line 2: the hash is not bcrypt'],
    [`a:$2y$31$${hash.slice(7)}`, 'line 2: a cost of 31'],
    [`:${hash}`, 'line 2: expected NAME:HASH'],
    ['a', 'line 2: expected NAME:HASH'],
    [`robot+ci:${hash}`, 'line 2: names with "robot+"'],
    [`x:${hash}\nx:${hash}`, 'line 3: user "x" is there twice'],
  ])('refuses %s by the line’s number, and prints no hash', (line, message) => {
    const parse = () => parseHtpasswd('file', `# x\n${line}\n`)
    expect(parse).toThrow(`Cannot use htpasswd "file": ${message}`)
    expect(parse).not.toThrow(hash.slice(10))
  })
})

describe('parseAuthorization()', () => {
  const of = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

  it.each([
    [undefined, { kind: 'none' }],
    [of('a:b:c'), { kind: 'password', user: 'a', password: 'b:c' }],
    [of('ü:ß€'), { kind: 'password', user: 'ü', password: 'ß€' }],
    [of('a:'), { kind: 'password', user: 'a', password: '' }],
    ['bearer x.y.z', { kind: 'token', token: 'x.y.z' }],
    [of('a'), { kind: 'unreadable' }],
    ['', { kind: 'unreadable' }],
    ['Basic', { kind: 'unreadable' }],
    ['Basic a b', { kind: 'unreadable' }],
    ['Bearer x, Basic y', { kind: 'unreadable' }],
    [`Bearer ${'x'.repeat(20_000)}`, { kind: 'unreadable' }],
  ])('reads %j', (header, expected) => {
    expect(parseAuthorization(header)).toEqual(expected)
  })
})

describe('the check of passwords', () => {
  /** Counts, and answers when told to. */
  function counting(users: ReadonlyMap<string, string>) {
    const compared: { readonly password: string; readonly hash: string }[] = []
    const waiting: (() => void)[] = []
    const check = createPasswordCheck(() => users, {
      compare: async (password, against) => {
        compared.push({ password, hash: against })
        await new Promise<void>(resolve => waiting.push(resolve))
        return password === 'secret' && against === hash
      },
    })
    const go = () => {
      for (const resolve of waiting.splice(0)) resolve()
    }
    return { check, compared, go }
  }
  const users = new Map([['a', hash]])
  const login = { user: 'a', password: 'secret', remote: '10.0.0.1' }

  it('compares once for the same question at once, and not again for what was right', async () => {
    const { check, compared, go } = counting(users)
    const all = Array.from({ length: 100 }, () => check.isRight(login))
    go()
    expect(new Set(await Promise.all(all))).toEqual(new Set([true]))
    expect(await check.isRight(login)).toBe(true)
    expect(compared.length).toBe(1)
    const wrong = check.isRight({ ...login, password: 'other' })
    go()
    expect(await wrong).toBe(false)
  })

  it('forgets what was right when the hash in the file is another', async () => {
    const changing = new Map(users)
    const { check, compared, go } = counting(changing)
    const right = check.isRight(login)
    go()
    expect(await right).toBe(true)
    changing.set('a', hashSync('secret', 4))
    const again = check.isRight(login)
    go()
    expect([await again, compared.length]).toEqual([false, 2])
  })

  it('does the same work for a user who is not there (timing of unknown users)', async () => {
    const { check, compared, go } = counting(users)
    const unknown = check.isRight({ ...login, user: 'eve' })
    go()
    expect(await unknown).toBe(false)
    expect(compared).toEqual([{ password: 'secret', hash: hashOfNobody(users) }])
    expect(hashOfNobody(users)).toMatch(/^\$2y\$04\$/)
    expect(hashOfNobody(new Map())).toMatch(/^\$2y\$10\$/)
  })

  it('and takes as long, in truth', async () => {
    const { compare } = await import('bcryptjs')
    const costly = new Map([['a', hashSync('secret', 9)]])
    const check = createPasswordCheck(() => costly, { compare })
    const timeOf = async (user: string) => {
      const times: number[] = []
      for (let i = 0; i < 5; i++) {
        const started = performance.now()
        await check.isRight({ user, password: `wrong ${i}`, remote: undefined })
        times.push(performance.now() - started)
      }
      return Math.min(...times)
    }
    const ratio = (await timeOf('eve')) / (await timeOf('a'))
    expect(ratio).toBeGreaterThan(0.5)
    expect(ratio).toBeLessThan(2)
  })

  it('lets one address wait eight times at once, and everybody together sixty-four', async () => {
    const { check, compared, go } = counting(users)
    const ask = (i: number, remote: string) =>
      check
        .isRight({ user: 'a', password: `${remote} ${i}`, remote })
        .catch((error: unknown) => error)
    const own = Array.from({ length: 9 }, (_, i) => ask(i, '10.0.0.1'))
    expect(await own[8]).toMatchObject({ code: 'unavailable' })
    const others = Array.from({ length: 70 }, (_, i) => ask(i, `10.0.1.${i}`))
    expect(compared.length).toBe(64)
    go()
    await Promise.all([...own, ...others])
    const later = check.isRight(login)
    go()
    expect(await later).toBe(true)
  })

  it('never takes a password that bcrypt would cut at 72 bytes, or end at a zero', async () => {
    const long = 'x'.repeat(72)
    const { compare } = await import('bcryptjs')
    const check = createPasswordCheck(() => new Map([['a', hashSync(long, 4)]]), { compare })
    const isRight = (password: string) => check.isRight({ ...login, password })
    expect(await isRight(long)).toBe(true)
    expect(await isRight(`${long}y`)).toBe(false)
    expect(await isRight('x\0y')).toBe(false)
  })
})
