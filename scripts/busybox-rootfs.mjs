// A root filesystem of Debian's busybox-static as a tar: what a test or the quickstart builds on
// where no registry of the world can be reached.
import { execFileSync, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** Writes `<directory>/busybox.tar` and returns its path. Needs the network only without /bin/busybox. */
export function busyboxRootfs(directory) {
  const rootfs = join(directory, 'busybox')
  for (const name of ['bin', 'etc', 'home', 'root', 'tmp', 'usr/bin', 'usr/sbin', 'var/tmp']) {
    mkdirSync(join(rootfs, name), { recursive: true })
  }
  const program = join(rootfs, 'bin/busybox')
  copyFileSync(findBusybox(directory), program)
  const applets = execFileSync(program, ['--list'], { encoding: 'utf8' }).trim().split('\n')
  for (const applet of applets) {
    if (applet !== 'busybox') symlinkSync('busybox', join(rootfs, 'bin', applet))
  }
  writeFileSync(
    join(rootfs, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
  )
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n')
  const tar = join(directory, 'busybox.tar')
  const flags = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0']
  execFileSync('tar', [...flags, '-C', rootfs, '-cf', tar, '.'])
  return tar
}

function findBusybox(directory) {
  for (const path of ['/bin/busybox', '/usr/bin/busybox']) {
    if (existsSync(path) && isStatic(path)) return path
  }
  return downloadBusybox(directory)
}

function isStatic(path) {
  return spawnSync('ldd', [path]).status !== 0
}

/** Unpacks Debian's package without installing it. */
function downloadBusybox(directory) {
  const download = () => spawnSync('apt-get', ['download', 'busybox-static'], { cwd: directory })
  if (download().status !== 0) {
    spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore' })
    const { status, stderr } = download()
    if (status !== 0) throw new Error(`Cannot download busybox-static: ${stderr}`)
  }
  const archive = readdirSync(directory).find(name => name.startsWith('busybox-static_'))
  execFileSync('dpkg-deb', ['-x', join(directory, archive), join(directory, 'package')])
  const found = ['bin', 'usr/bin'].map(name => join(directory, 'package', name, 'busybox'))
  return found.find(path => existsSync(path))
}
