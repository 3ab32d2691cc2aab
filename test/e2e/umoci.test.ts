/** Images of many makers, unpacked by us and by umoci: the same tree, to the last attribute. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openContentStore } from '../../src/layerfs/content/directory-store.ts'
import { calledInLayout } from '../../src/layerfs/image/archive-layout.ts'
import { exportLayout } from '../../src/layerfs/image/export-image.ts'
import { openRoot } from '../../src/layerfs/layer/rootfs.ts'
import { syscalls } from '../../src/layerfs/native/syscalls.ts'
import { removeDirectories } from '../layerfs/content/scratch.ts'
import { makeImage } from '../layerfs/image/sample-image.ts'
import {
  dir,
  type EntryDraft,
  file,
  fully,
  hardlink,
  listTree,
  symlink,
  tarOf,
  whiteout,
} from '../layerfs/layer/layer-support.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith, missing } from '../support/requires.ts'
import { type DockerDaemon, startDocker } from './docker-daemon.ts'
import { openWorkspace, type Workspace } from './workspace.ts'

describeWith(['root', 'umoci', 'skopeo'], 'unpacked as umoci unpacks it', () => {
  let compiled: Compiled
  let root: string
  let count = 0

  beforeAll(() => {
    compiled = compileSources()
    root = mkdtempSync('/tmp/umoci-')
  }, 60_000)

  afterAll(() => {
    rmSync(root, { recursive: true, force: true })
    removeDirectories()
    compiled[Symbol.dispose]()
  })

  const call = (command: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(command, args, {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: root, TSBUILD_ROOT: join(root, 'store') },
    })
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }
  const tsrun = (...args: string[]) =>
    call(process.execPath, '--', join(compiled.dist, 'cli/tsrun.js'), ...args)
  const skopeo = (from: string, to: string) =>
    call('skopeo', '--insecure-policy', '--tmpdir', root, 'copy', '-q', from, to)

  /** All of a directory, itself included. `unsure`: paths whose time nobody said. */
  function treeAt(path: string, unsure: readonly string[]): string[] {
    using opened = openRoot({ kind: 'directory', path, readOnly: true })
    const { mode, uid, gid } = syscalls().statx(opened.fd, '')
    const lines = listTree(opened, (fd, name, at) =>
      unsure.includes(at) ? fully(fd, name).replace(/ -?\d+\.\d+ /, ' ') : fully(fd, name),
    )
    return [`/ ${mode.toString(8)} ${uid}:${gid}`, ...lines]
  }

  /** Unpacks `place` by us; and by umoci, which takes a layout alone, so that skopeo makes one. */
  function compare(place: string, unsure: readonly string[] = []): string[] {
    const name = `case-${count++}`
    tsrun('unpack', place, `${name}-ours`)
    let layout = place.replace(/^oci:/, '')
    if (!place.startsWith('oci:')) {
      layout = `${name}-layout:x`
      skopeo(place, `oci:${layout}`)
    }
    call('umoci', 'unpack', '--image', layout, `${name}-theirs`)
    const ours = treeAt(join(root, `${name}-ours`), unsure)
    expect(ours).toEqual(treeAt(join(root, `${name}-theirs/rootfs`), unsure))
    return ours
  }

  async function handMade(
    name: string,
    layers: readonly (readonly EntryDraft[])[],
  ): Promise<string> {
    const content = openContentStore(join(root, `${name}-blobs`))
    const { target } = await makeImage(content, layers.map(tarOf))
    const images = [calledInLayout(target, 'x')]
    await exportLayout(join(root, name), { images, content, format: 'oci' })
    return `oci:${name}:x`
  }

  const ofF = { mode: 0o4755, uid: 1000, gid: 1000 }

  const base: readonly EntryDraft[] = [
    dir('.', { mode: 0o755, uid: 0 }),
    dir('d', { mode: 0o2750, uid: 3, gid: 4 }),
    file('d/a', 'a'),
    file('d/b', 'b'),
    dir('d/sub'),
    file('d/sub/deep', 'deep'),
    file('f', 'f', ofF),
    symlink('l', 'd'),
    dir('tmp', { mode: 0o1777 }),
  ]

  const stacks: Readonly<Record<string, readonly (readonly EntryDraft[])[]>> = {
    'one layer': [base],
    'whiteouts (A3, A8)': [base, [whiteout('d/.wh.a'), whiteout('.wh.f'), whiteout('d/.wh.nope')]],
    'an opaque directory (A5)': [base, [dir('d'), whiteout('d/.wh..wh..opq'), file('d/new')]],
    'a directory deleted and made again (A6)': [base, [whiteout('.wh.d'), dir('d'), file('d/n')]],
    'other types in one place (A9)': [
      base,
      [file('d', 'now a file'), dir('f'), file('f/x'), dir('l'), file('l/in')],
      [symlink('d', 'f'), file('l', 'file again')],
    ],
    // With the attributes of the file, as every tar says them: other ones we apply, umoci does not (A15).
    'hard links, also to lower layers (A14)': [
      [...base, { ...hardlink('h1', 'f'), ...ofF }, { ...hardlink('h2', 'h1'), ...ofF }],
      [
        hardlink('lower', 'd/a'),
        file('x', 'x', { uid: 9 }),
        { ...hardlink('d/same', 'x'), uid: 9 },
      ],
      [whiteout('.wh.f'), whiteout('.wh.x')],
    ],
    'links that lead nowhere and out (A14, A32)': [
      base,
      [
        symlink('dangling', '/no/such'),
        symlink('up', '../../../etc/passwd'),
        symlink('self', 'self'),
      ],
    ],
    'times and owners (A18, A19)': [
      [
        dir('t', { seconds: 1 }),
        file('t/zero', '', { seconds: 0 }),
        file('t/nano', '', { seconds: 1_700_000_000, nanoseconds: 123_456_789 }),
        file('t/late', '', { seconds: 4_000_000_000 }),
        file('t/big', '', { uid: 3_000_000, gid: 4_000_000_000 }),
      ],
      [file('t/new', '', { seconds: 5 })],
    ],
    'attributes (A20, A22)': [
      [
        file('x', 'x', { xattrs: { 'user.a': Buffer.from([0, 1, 10, 255]), 'user.b': 'b' } }),
        file('ping', '', {
          xattrs: {
            'security.capability': Buffer.from('0100000200200000000000000000000000000000', 'hex'),
          },
        }),
        dir('xd', { xattrs: { 'user.d': 'd' } }),
      ],
      [dir('xd', { xattrs: { 'user.e': 'e' } })],
    ],
    'devices and FIFOs (A24)': [
      [
        { path: 'null', type: 'character-device', device: [1, 3], mode: 0o666 },
        { path: 'disk', type: 'block-device', device: [7, 200], mode: 0o660, gid: 6 },
        { path: 'pipe', type: 'fifo', mode: 0o600, uid: 5 },
      ],
    ],
    'long and strange names (A32)': [
      [
        dir('n'.repeat(200)),
        file(`${'n'.repeat(200)}/${'m'.repeat(200)}`, 'long'),
        file('a b\tc', 'blank'),
        file('ümläut', 'x'),
        { path: Buffer.from([0x6e, 0xff, 0xfe]), content: 'no UTF-8' },
      ],
    ],
    'a link in the way of a lower layer (A12)': [base, [file('l/through', 'x')]],
    'many small layers': Array.from({ length: 30 }, (_, i) => [
      file(`file${i}`, `${i}`, { uid: i }),
      ...(i % 3 === 2 ? [whiteout(`.wh.file${i - 1}`)] : []),
    ]),
  }

  test.each(Object.keys(stacks))('by hand: %s', async name => {
    const layout = await handMade(`hand-${count}`, stacks[name] ?? [])
    expect(compare(layout).length).toBeGreaterThan(2)
  })

  test('by hand: parents that no entry describes (A11)', async () => {
    const layout = await handMade('implied', [[file('p/q/r')], [file('p/q/s')]])
    compare(layout, ['p', 'p/q'])
  })

  /** A root filesystem on disk, for makers that pack one. */
  function rootfs(): string {
    const path = join(root, `rootfs-${count++}`)
    mkdirSync(join(path, 'etc/conf.d'), { recursive: true })
    mkdirSync(join(path, 'var/empty'), { recursive: true })
    writeFileSync(join(path, 'etc/motd'), 'hello\n')
    writeFileSync(join(path, 'etc/shadow'), 'secret', { mode: 0o640 })
    chownSync(join(path, 'etc/shadow'), 0, 42)
    chmodSync(join(path, 'var/empty'), 0o1777)
    symlinkSync('motd', join(path, 'etc/issue'))
    call('ln', join(path, 'etc/motd'), join(path, 'etc/linked'))
    call('mknod', join(path, 'zero'), 'c', '1', '5')
    call('mkfifo', join(path, 'pipe'))
    return path
  }

  /** With an image of one layer, by umoci, under the tag `x`. */
  function umociLayout(): string {
    const layout = `umoci-${count++}`
    call('umoci', 'init', '--layout', layout)
    call('umoci', 'new', '--image', `${layout}:x`)
    call('umoci', 'unpack', '--image', `${layout}:x`, `${layout}-bundle`)
    call('cp', '-a', `${rootfs()}/.`, `${layout}-bundle/rootfs`)
    call('umoci', 'repack', '--image', `${layout}:x`, `${layout}-bundle`)
    return layout
  }

  test('by umoci: layers that add, change and delete', () => {
    const layout = umociLayout()
    const files = join(root, `${layout}-bundle/rootfs`)
    rmSync(join(files, 'etc/motd'))
    rmSync(join(files, 'var'), { recursive: true })
    writeFileSync(join(files, 'etc/new'), 'new')
    chmodSync(join(files, 'etc/shadow'), 0o4711)
    call('umoci', 'repack', '--refresh-bundle', '--image', `${layout}:x`, `${layout}-bundle`)
    expect(compare(`oci:${layout}:x`).join('\n')).not.toContain('etc/motd ')
  })

  test.each(['oci-archive', 'docker-archive', 'oci'])('by skopeo: %s', transport => {
    const place = `${transport}:skopeo-${transport}:y/z:1`
    skopeo(`oci:${umociLayout()}:x`, place)
    // umoci takes no colon in a tag.
    if (transport !== 'oci') compare(place)
    else {
      skopeo(place, 'oci:skopeo-again:x')
      compare('oci:skopeo-again:x')
    }
  })

  test('by tar and tsrun: import, save in every format', () => {
    call('tar', '--xattrs', '-C', rootfs(), '-czf', 'import.tar.gz', '.')
    tsrun('import', 'import.tar.gz', 'imported')
    for (const place of [
      'oci:saved:x',
      'oci-archive:saved-oci.tar:x',
      'docker-archive:saved.tar:a/b:x',
    ]) {
      tsrun('save', '-o', place, 'imported')
      compare(place)
    }
  })

  test('by tar: old GNU long names, ustar and PAX', () => {
    const source = rootfs()
    mkdirSync(join(source, 'd'.repeat(90), 'e'.repeat(90)), { recursive: true })
    writeFileSync(join(source, 'd'.repeat(90), 'e'.repeat(90), 'f'.repeat(90)), 'deep')
    for (const format of ['gnu', 'posix']) {
      call('tar', `--format=${format}`, '-C', source, '-cf', `${format}.tar`, '.')
      tsrun('import', `${format}.tar`, format)
      tsrun('save', '-o', `oci:tar-${format}:x`, format)
      compare(`oci:tar-${format}:x`)
    }
  })

  const withoutPodman = missing(['podman', 'runc', 'busybox'])
  describe.skipIf(withoutPodman !== undefined)(`by podman ${withoutPodman ?? ''}`, () => {
    test.each(['oci-archive', 'docker-archive'])('build and save as %s', format => {
      call('tar', '-C', rootfs(), '-cf', 'podman.tar', '.')
      mkdirSync(join(root, 'context'), { recursive: true })
      writeFileSync(join(root, 'context/a'), 'a')
      writeFileSync(join(root, 'containers.conf'), '[containers]\ndefault_ulimits = []\n')
      const podman = (...args: string[]) =>
        call(
          'env',
          ...[`CONTAINERS_CONF=${join(root, 'containers.conf')}`, 'podman'],
          ...['--root', join(root, 'podman'), '--runroot', join(root, 'podman-run')],
          ...['--tmpdir', join(root, 'podman-tmp'), '--storage-driver', 'vfs'],
          ...['--cgroup-manager', 'cgroupfs', '--runtime', 'runc', '--events-backend', 'none'],
          ...args,
        )
      podman('import', '-q', 'podman.tar', 'localhost/podbase')
      writeFileSync(
        join(root, 'context/Dockerfile'),
        'FROM localhost/podbase\nCOPY --chown=3:4 a /opt/a\nCOPY a /etc/motd\n',
      )
      podman('build', '-q', '--layers', '-t', 'localhost/podapp', 'context')
      podman('save', '-q', '--format', format, '-o', `podman-${format}.tar`, 'localhost/podapp')
      compare(`${format}:podman-${format}.tar`)
    })
  })

  const withoutDocker = missing(['docker'])
  describe.skipIf(withoutDocker !== undefined)(`by docker ${withoutDocker ?? ''}`, () => {
    let work: Workspace
    let daemon: DockerDaemon
    beforeAll(async () => {
      work = openWorkspace('umoci-docker')
      daemon = await startDocker(work)
    }, 60_000)
    afterAll(async () => {
      await daemon.stop()
      await work.close()
    })

    test('import, build and save', async () => {
      call('tar', '-C', rootfs(), '-cf', 'docker.tar', '.')
      await daemon.docker(['import', join(root, 'docker.tar'), 'dockbase'])
      const { stdout } = await daemon.docker(['create', 'dockbase', 'x'])
      writeFileSync(join(root, 'added'), 'added')
      await daemon.docker(['cp', join(root, 'added'), `${stdout.trim()}:/etc/added`])
      await daemon.docker(['commit', stdout.trim(), 'dockapp:1'])
      await daemon.docker(['rm', stdout.trim()])
      await daemon.docker(['save', '-o', join(root, 'docker-save.tar'), 'dockapp:1'])
      expect(compare('docker-archive:docker-save.tar:dockapp:1').join('\n')).toContain('etc/added ')
    })
  })
})
