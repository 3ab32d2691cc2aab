import { describe, expect, test } from 'vitest'
import { resolveUser } from '../../src/layerfs/sandbox/user.ts'

const files = {
  passwd: [
    'root:x:0:0:root:/root:/bin/bash',
    'daemon:x:1:1::/usr/sbin:/usr/sbin/nologin',
    'app:x:1000:1000:,,,:/home/app:/bin/sh',
    'homeless:x:1001:100',
    'broken:x:zero:0::/:/bin/sh',
    'huge:x:4294967296:0::/:/bin/sh',
    '1234:x:77:77::/seventy:/bin/sh',
    '+nis::::::',
  ].join('\n'),
  group: 'root:x:0:\nwheel:x:10:root,app\naudio:x:29:app\nusers:x:100:\nbroken:x::app\n',
}

describe('resolveUser()', () => {
  test.each([
    ['', { uid: 0, gid: 0, groups: [0, 10], home: '/root' }],
    ['root', { uid: 0, gid: 0, groups: [0, 10], home: '/root' }],
    ['app', { uid: 1000, gid: 1000, groups: [1000, 10, 29], home: '/home/app' }],
    ['1000', { uid: 1000, gid: 1000, groups: [1000, 10, 29], home: '/home/app' }],
    ['app:audio', { uid: 1000, gid: 29, groups: [29], home: '/home/app' }],
    ['app:5', { uid: 1000, gid: 5, groups: [5], home: '/home/app' }],
    ['1000:wheel', { uid: 1000, gid: 10, groups: [10], home: '/home/app' }],
    [':wheel', { uid: 0, gid: 10, groups: [10], home: '/root' }],
    ['app:', { uid: 1000, gid: 1000, groups: [1000, 10, 29], home: '/home/app' }],
    ['4242', { uid: 4242, gid: 0, groups: [0], home: '/' }],
    ['4242:4243', { uid: 4242, gid: 4243, groups: [4243], home: '/' }],
    ['homeless', { uid: 1001, gid: 100, groups: [100], home: '/' }],
    ['1234', { uid: 1234, gid: 0, groups: [0], home: '/' }],
    ['4294967294', { uid: 4294967294, gid: 0, groups: [0], home: '/' }],
  ])('"%s" is who Docker says (I07)', (text, expected) => {
    expect(resolveUser(text, files)).toEqual(expected)
  })

  test.each(['nobody', '-1', '+nis2', '0x0', ' ', '1e3', 'app,root'])(
    'refuses "%s", which the image does not have',
    text => {
      expect(() => resolveUser(text, files)).toThrow(
        expect.objectContaining({
          code: 'not-found',
          message: `unable to find user ${text}: no matching entries in passwd file`,
        }),
      )
    },
  )

  test('refuses an unknown group, quoting it', () => {
    expect(() => resolveUser('root:nope', files)).toThrow(
      'unable to find group nope: no matching entries in group file',
    )
  })

  test.each(['4294967295', '4294967296', '18446744073709551616', '0:4294967296'])(
    'refuses the id in "%s", which does not fit (CVE-2024-40635)',
    text => {
      expect(() => resolveUser(text, files)).toThrow(expect.objectContaining({ code: 'invalid' }))
    },
  )

  test('takes no malformed entry for root', () => {
    for (const name of ['broken', 'huge', '+nis']) {
      expect(() => resolveUser(name, files)).toThrow('unable to find user')
    }
    expect(resolveUser('app', files).groups).not.toContain(0)
  })

  test('needs no files for root and for ids', () => {
    const empty = { passwd: '', group: '' }
    expect(resolveUser('', empty)).toEqual({ uid: 0, gid: 0, groups: [0], home: '/' })
    expect(resolveUser('7:8', empty)).toEqual({ uid: 7, gid: 8, groups: [8], home: '/' })
  })
})
