/** Volumes, `tsrun create`, labels and what `ps` filters by: as docker has them. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missing } from './box.ts'
import { makeTsrunStore, type TsrunStore } from './tsrun-store.ts'

describe.skipIf(missing !== undefined)(`volumes${missing ? ` (${missing})` : ''}`, () => {
  let made: TsrunStore
  let box: TsrunStore['box']
  let store: string
  let tsrun: TsrunStore['tsrun']

  beforeAll(() => {
    made = makeTsrunStore(({ layer }) => {
      mkdirSync(join(layer, 'srv/sub'), { recursive: true })
      writeFileSync(join(layer, 'srv/sub/file'), 'of the image')
      spawnSync('chown', ['-R', '7:8', join(layer, 'srv')])
      spawnSync('chmod', ['750', join(layer, 'srv')])
    })
    ;({ box, store, tsrun } = made)
    const context = join(box.directory, 'context')
    mkdirSync(context)
    const text = 'FROM bb\nVOLUME /srv\nLABEL from=image kept=yes\n'
    writeFileSync(join(context, 'Dockerfile'), text)
    expect(made.tsbuild('--progress', 'none', '-t', 'bb', context).status).toBe(0)
  }, 60_000)

  afterAll(() => {
    tsrun('rm', '-f', ...made.ids())
    made[Symbol.dispose]()
  })

  const lines = (...args: string[]) =>
    tsrun(...args)
      .stdout.split('\n')
      .filter(Boolean)
  const none = ['--network', 'none']
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = tsrun('run', ...none, ...args)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    return stdout
  }

  describe('with a name', () => {
    test('keep what containers write, and begin with what the image has there', () => {
      const seen = run(
        '--rm',
        '-v',
        'data:/srv',
        'bb',
        'sh',
        '-c',
        'cat /srv/sub/file; stat -c "%u %g %a" /srv; echo more > /srv/new',
      )
      expect(seen).toBe('of the image7 8 750\n')
      expect(run('--rm', '-v', 'data:/mnt:ro', 'bb', 'cat', '/mnt/new', '/mnt/sub/file')).toBe(
        'more\nof the image',
      )
      const readOnly = tsrun('run', '--rm', ...none, '-v', 'data:/mnt:ro', 'bb', 'touch', '/mnt/x')
      expect(readOnly.stderr).toContain('Read-only file system')
      // A volume that is not empty gets nothing.
      run('--rm', '--mount', 'type=volume,source=data,target=/etc', 'bb', '/bin/true')
      expect(readdirSync(join(store, 'volumes/data/_data')).sort()).toEqual(['new', 'sub'])
      expect(lines('volume', 'ls', '-q')).toContain('data')
    })

    test('begin empty when asked, or where the image has nothing; a fill that was killed is done again', () => {
      expect(run('--rm', '-v', 'empty:/srv:nocopy', 'bb', 'ls', '/srv')).toBe('')
      expect(run('--rm', '-v', 'empty:/nothing/there', 'bb', 'ls', '/nothing/there')).toBe('')
      const directory = join(store, 'volumes/empty')
      writeFileSync(join(directory, 'filling'), '')
      mkdirSync(join(directory, '_data/sub'))
      expect(run('--rm', '-v', 'empty:/srv', 'bb', 'cat', '/srv/sub/file')).toBe('of the image')
      expect(existsSync(join(directory, 'filling'))).toBe(false)
    })

    test('are not removed while a container has them, running or not', () => {
      run('--name', 'user', '-v', 'used:/mnt', 'bb', '/bin/true')
      const { status, stderr } = tsrun('volume', 'rm', 'used')
      expect([status, stderr]).toEqual([
        1,
        expect.stringMatching(/"used": it is in use by [0-9a-f]{12}/),
      ])
      expect(lines('volume', 'prune', '-af')).not.toContain('used')
      tsrun('rm', '-v', 'user')
      expect(tsrun('volume', 'rm', 'used')).toMatchObject({ status: 0, stdout: 'used\n' })
      expect(tsrun('volume', 'rm', 'used').stderr).toContain('no such volume')
      expect(tsrun('volume', 'rm', '-f', 'used').status).toBe(0)
      expect(existsSync(join(store, 'volumes/used'))).toBe(false)
    })

    test('are made, listed and shown with labels', () => {
      expect(tsrun('volume', 'create', '--label', 'app=web', 'named').stdout).toBe('named\n')
      expect(lines('volume', 'ls', '-qf', 'label=app=web')).toEqual(['named'])
      expect(lines('volume', 'ls', '-q', '--filter', 'label=app=other')).toEqual([])
      const [shown] = JSON.parse(tsrun('volume', 'inspect', 'named').stdout) as object[]
      expect(shown).toMatchObject({ Name: 'named', Driver: 'local', Labels: { app: 'web' } })
      expect(tsrun('volume', 'inspect', 'no-such').stderr).toContain('no such volume')
      expect(tsrun('volume', 'create', '../x').stderr).toContain('Cannot use volume name "../x"')
      const [unnamed = ''] = lines('volume', 'create')
      expect(unnamed).toMatch(/^[0-9a-f]{64}$/)
      // Who is not there to answer has not said yes.
      expect(tsrun('volume', 'prune', '-a')).toMatchObject({
        ...{ status: 0, stdout: '' },
        stderr: expect.stringMatching(/\? \[y\/N\] \nCanceled: nothing was removed/),
      })
      expect(lines('volume', 'prune', '-f')).toContain(unnamed)
      expect(lines('volume', 'ls', '-q')).toContain('named')
      expect(lines('volume', 'prune', '-af', '--filter', 'label=app')).toEqual(['named'])
    })

    test('outlive their record', () => {
      tsrun('volume', 'create', 'worn')
      writeFileSync(join(store, 'volumes/worn/_data/kept'), 'data')
      for (const record of ['', '{"createdAt":', '[]']) {
        writeFileSync(join(store, 'volumes/worn/volume.json'), record)
        expect(lines('volume', 'ls', '-q')).toContain('worn')
        expect(run('--rm', '-v', 'worn:/v', 'bb', 'cat', '/v/kept')).toBe('data')
      }
      expect(tsrun('volume', 'rm', 'worn').status).toBe(0)
    })

    test('are counted by fsck, and nothing of them is stray', () => {
      const { status, stdout } = tsrun('fsck')
      expect(status).toBe(0)
      expect(stdout).toMatch(/volumes/)
      expect(stdout).not.toMatch(/stray\s+[1-9]/)
    })
  })

  test('--volumes-from shows what another container has; the user’s own goes before', () => {
    const shown = join(box.directory, 'shown')
    mkdirSync(shown)
    writeFileSync(join(shown, 'of-machine'), 'machine')
    run('--name', 'giver', '-v', 'given:/mnt', '-v', `${shown}:/shown`, 'bb', 'touch', '/mnt/a')
    const list = ['bb', 'ls', '/mnt', '/srv', '/shown']
    expect(run('--rm', '--volumes-from', 'giver', ...list)).toBe(
      '/mnt:\na\n\n/shown:\nof-machine\n\n/srv:\nsub\n',
    )
    const other = ['-v', 'other-one:/shown/']
    expect(run('--rm', '--volumes-from', 'giver', ...other, 'bb', 'ls', '/shown')).toBe('')
    for (const path of ['/mnt/x', '/srv/x', '/shown/x']) {
      const { stderr } = tsrun(
        'run',
        '--rm',
        ...none,
        '--volumes-from',
        'giver:ro',
        'bb',
        'touch',
        path,
      )
      expect(stderr).toContain('Read-only file system')
    }
    // Its volume without a name is that of both: it stays until nobody has it.
    run('--name', 'taker', '--volumes-from', 'giver', 'bb', 'touch', '/srv/taken')
    tsrun('rm', '-v', 'giver')
    expect(run('--rm', '--volumes-from', 'taker', 'bb', 'ls', '/srv')).toBe('sub\ntaken\n')
    tsrun('rm', '-v', 'taker')
  })

  test.each([
    ['nobody', 'Cannot find container "nobody"'],
    ['nobody:rx', 'expected NAME[:ro|rw]'],
    [':ro', 'expected NAME[:ro|rw]'],
  ])('--volumes-from %s is refused', (word, why) => {
    expect(tsrun('run', ...none, '--volumes-from', word, 'bb', 'true').stderr).toContain(why)
  })

  describe('without one', () => {
    const unnamed = () => lines('volume', 'ls', '-q').filter(name => /^[0-9a-f]{64}$/.test(name))

    test('are made for VOLUME and -v TARGET, and go with --rm', () => {
      const before = unnamed()
      run(
        '--rm',
        '-v',
        '/own',
        'bb',
        'sh',
        '-c',
        'cat /srv/sub/file > /own/x && mount | grep " /own "',
      )
      expect(unnamed()).toEqual(before)
    })

    test('of a detached container with --rm go when it ends', () => {
      const before = unnamed()
      const [id = ''] = lines('run', '-d', '--rm', ...none, '-v', '/own', 'bb', 'touch', '/own/x')
      tsrun('wait', id)
      expect(lines('ps', '-aq')).not.toContain(id.slice(0, 12))
      expect(unnamed()).toEqual(before)
    })

    test('stay with a container that is kept, and after it, but with rm -v', () => {
      const before = unnamed()
      run('--name', 'kept', 'bb', '/bin/true')
      const [own = ''] = unnamed().filter(name => !before.includes(name))
      expect(readFileSync(join(store, 'volumes', own, '_data/sub/file'), 'utf8')).toBe(
        'of the image',
      )
      tsrun('rm', 'kept')
      expect(unnamed()).toContain(own)
      expect(lines('volume', 'ls', '-qf', 'dangling=true')).toContain(own)
      expect(tsrun('volume', 'ls', '-f', 'dangling=odd').stderr).toContain('expected true or false')
      run('--name', 'kept', 'bb', '/bin/true')
      tsrun('rm', '-v', 'kept')
      expect(unnamed()).toEqual([...before, own].sort())
    })

    test('leave nothing when the container cannot be started', () => {
      const before = unnamed()
      expect(tsrun('run', ...none, 'bb', '/no/such').status).toBe(127)
      expect(tsrun('run', ...none, '-u', 'nobody-there', 'bb', 'true').status).not.toBe(0)
      expect(unnamed()).toEqual(before)
    })
  })

  test('outer mounts come first, in whatever order they are asked for', () => {
    const seen = run(
      '--rm',
      '-v',
      'inner:/a/b',
      '--tmpfs',
      '/a',
      'bb',
      'sh',
      '-c',
      'mount | grep -c " /a/b "; ls /a',
    )
    expect(seen).toBe('1\nb\n')
  })

  describe('create', () => {
    test('makes a container that start starts, with all it was asked for', () => {
      const idFile = join(box.directory, 'cid')
      const flags = ['--name', 'later', '-l', 'tier=db', '--cidfile', idFile, '-v', 'late:/mnt']
      const [id = ''] = lines(
        'create',
        ...flags,
        ...none,
        'bb',
        'sh',
        '-c',
        'echo ran > /mnt/x; echo out',
      )
      expect(readFileSync(idFile, 'utf8')).toBe(id)
      expect(
        lines('ps', '-a', '--filter', 'name=later', '--format', '{{.Status}} {{.State}}'),
      ).toEqual(['Created created'])
      expect(lines('ps', '-q', '--filter', 'name=later')).toEqual([])
      expect(existsSync(join(store, 'volumes/late/_data/x'))).toBe(false)
      expect(tsrun('start', 'later').stdout).toBe('later\n')
      expect(tsrun('wait', 'later').stdout).toBe('0\n')
      expect(tsrun('logs', 'later').stdout).toBe('out\n')
      expect(statSync(join(store, 'volumes/late/_data/x')).size).toBe(4)
    })

    test('with --rm is not taken for a leftover, and goes when it has run', () => {
      const [id = ''] = lines('create', '--rm', ...none, 'bb', '/bin/true')
      expect(lines('ps', '-aq', '--no-trunc')).toContain(id)
      tsrun('start', id)
      tsrun('wait', id)
      expect(lines('ps', '-aq', '--no-trunc')).not.toContain(id)
    })

    test('refuses an id file that is there, and the namespaces of another', () => {
      const file = join(box.directory, 'taken')
      writeFileSync(file, '')
      const before = lines('ps', '-aq')
      expect(tsrun('create', '--cidfile', file, 'bb', 'true').stderr).toContain('the file is there')
      expect(tsrun('create', '--pid', 'container:x', 'bb', 'true').stderr).toContain(
        'in that of another',
      )
      const gone = join(box.directory, 'gone')
      expect(
        tsrun('create', '--cidfile', gone, '-u', 'nobody-there', 'bb', 'true').status,
      ).not.toBe(0)
      expect(existsSync(gone)).toBe(false)
      expect(lines('ps', '-aq')).toEqual(before)
    })
  })

  test('labels are the image’s and the user’s, and ps filters by them', () => {
    const file = join(box.directory, 'labels')
    writeFileSync(file, '# none\nkept=no\n\nlist=1\n')
    run('--name', 'first', '--label-file', file, '--label', 'list=2', 'bb', '/bin/true')
    const ps = (...words: string[]) => lines('ps', '-a', '--format', '{{.Names}}', ...words)
    expect(lines('ps', '-af', 'name=first', '--format', '{{.Labels}}')).toEqual([
      'from=image,kept=no,list=2',
    ])
    expect(ps('-f', 'label=from=image', '-f', 'label=kept=no')).toEqual(['first'])
    expect(lines('ps', '-l', '--format', '{{.Names}}')).toEqual(['first'])
    expect(tsrun('ps', '--filter', 'network=none').stderr).toContain(
      'Cannot filter by "network=none"',
    )
  })
})
