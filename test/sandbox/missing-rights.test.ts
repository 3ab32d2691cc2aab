/** What keeps a machine's users from containers: one sentence names it, one says what to do. */
import { spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { assertUserNamespaces } from '../../src/cli/user-namespace.ts'
import { nativePath } from '../../src/layerfs/native/native-programs.ts'
import { makeBox, missing, run } from './box.ts'

describe('settings that forbid user namespaces', () => {
  test.each([
    ['/proc/sys/kernel/unprivileged_userns_clone', '0', 'kernel.unprivileged_userns_clone is 0'],
    ['/proc/sys/user/max_user_namespaces', '0', 'user.max_user_namespaces is 0'],
    [
      '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
      '1',
      'kernel.apparmor_restrict_unprivileged_userns is 1',
    ],
  ])('%s of %s is named, with its remedy', (file, value, words) => {
    const hint = expect.stringContaining(file.replace('/proc/sys/', '').replace('/', '.'))
    expect(() => assertUserNamespaces(name => (name === file ? `${value}\n` : ''))).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        message: `Cannot run without root: ${words} on this machine`,
        hint,
      }),
    )
  })

  test('are none when they are absent or allow them', () => {
    expect(() => assertUserNamespaces(() => '')).not.toThrow()
    expect(() =>
      assertUserNamespaces(name => (name.endsWith('max_user_namespaces') ? '1000\n' : '')),
    ).not.toThrow()
  })
})

const isStatic = process.env['TSBUILD_NATIVE'] === undefined

describe.skipIf(missing !== undefined || !isStatic)('the native program', () => {
  const words = ['user-namespace', '', '', '/bin/true']

  test('in a container whose filter forbids unshare(2) says so', async () => {
    using box = makeBox()
    copyFileSync(nativePath('sandbox'), join(box.layer, 'bin/native'))
    const user = { uid: 1000, gid: 1000, groups: [] }
    const { code, stderr } = await run(box, '', { argv: ['native', ...words], user })
    expect([code, stderr.split('\n')]).toEqual([
      125,
      [
        'ERROR: Cannot run without root: make a user namespace: Operation not permitted',
        'A system call filter forbids unshare(2), as in most containers: allow it there, or use sudo',
        '',
      ],
    ])
  })

  test('leaves no helper behind that waits for the namespace it could not make', async () => {
    using box = makeBox()
    copyFileSync(nativePath('sandbox'), join(box.layer, 'bin/native'))
    const script = `native user-namespace '0 1000 1' '0 1000 1' /bin/true
      sleep 0.2; busybox ps -o comm | grep -c '^native$'`
    const user = { uid: 1000, gid: 1000, groups: [] }
    expect(await run(box, script, { user, init: true })).toMatchObject({
      stdout: '0\n',
      stderr: expect.stringContaining('make a user namespace: Operation not permitted'),
    })
  })

  test('where there are as many user namespaces as allowed says which limit', () => {
    // The limit of the namespace above holds for all below.
    const script = `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"`
    const { status, stderr } = spawnSync(
      'unshare',
      ['-Ur', 'sh', '-c', script, nativePath('sandbox'), ...words],
      { encoding: 'utf8' },
    )
    expect(status).toBe(125)
    expect(stderr).toBe(
      'ERROR: Cannot run without root: make a user namespace: No space left on device\n' +
        'Raise the sysctl user.max_user_namespaces, or use sudo\n',
    )
  })

  test('with a newuidmap that may do nothing says what that takes', () => {
    using box = makeBox()
    for (const name of ['newuidmap', 'newgidmap'])
      copyFileSync('/bin/false', join(box.directory, name))
    const { status, stderr } = spawnSync(
      nativePath('sandbox'),
      ['user-namespace', '0 0 1', '0 0 1', '/bin/true'],
      { encoding: 'utf8', env: { PATH: box.directory } },
    )
    expect(status).toBe(125)
    expect(stderr).toMatch(
      /^ERROR: Cannot run without root: newuidmap: .+\nIt must be set-uid root or have cap_setuid/,
    )
  })
})
