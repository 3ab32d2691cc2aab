// Writes the packages that are published into build/packages (or the folder named), of what the build
// left: the programs, and the native code of this platform, which npm puts beside them as an optional
// dependency. Installing them runs no script and needs no compiler.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { arch, platform } from 'node:process'
import { fileURLToPath } from 'node:url'

/** The C library of RHEL 9, Ubuntu 22.04 and Debian 12: older ones come with kernels that are too old. */
const oldestLibrary = [2, 34]

const root = fileURLToPath(new URL('..', import.meta.url))
const target = resolve(process.argv[2] ?? join(root, 'build/packages'))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const { version, license, engines } = manifest
const platformName = `tsbuild-${platform}-${arch}`
const stage = mkdtempSync(join(tmpdir(), 'tsbuild-package-'))

try {
  mkdirSync(target, { recursive: true })
  pack(stageNative())
  pack(stagePrograms())
} finally {
  rmSync(stage, { recursive: true, force: true })
}

function stageNative() {
  const folder = join(stage, platformName)
  for (const name of ['syscalls.node', 'sandbox']) {
    cpSync(join(root, 'build/native', name), join(folder, name))
    execFileSync('strip', [join(folder, name)])
  }
  refuseNewerLibrary(join(folder, 'syscalls.node'))
  cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  writeJson(join(folder, 'package.json'), {
    name: platformName,
    version,
    description: `The native code of tsbuild for ${platform} on ${arch}`,
    license,
    os: [platform],
    cpu: [arch],
    libc: ['glibc'],
    engines,
    files: ['syscalls.node', 'sandbox'],
  })
  return folder
}

function stagePrograms() {
  const folder = join(stage, 'tsbuild')
  for (const name of ['dist', 'docs', 'README.md', 'LICENSE', 'ARCHITECTURE.md', 'CHANGELOG.md']) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  const { scripts: _scripts, devDependencies: _development, ...published } = manifest
  const optionalDependencies = { [platformName]: version }
  writeJson(join(folder, 'package.json'), { ...published, optionalDependencies })
  return folder
}

/** An addon that was linked against a newer one loads on this machine alone. */
function refuseNewerLibrary(addon) {
  const needed = execFileSync('readelf', ['--version-info', '--wide', addon], { encoding: 'utf8' })
  const newer = [...needed.matchAll(/GLIBC_(\d+)\.(\d+)/g)].filter(
    ([, major, minor]) => Number(major) > oldestLibrary[0] || Number(minor) > oldestLibrary[1],
  )
  if (newer.length === 0) return
  const versions = [...new Set(newer.map(([name]) => name))].join(', ')
  throw new Error(`${addon} needs ${versions}; "objdump -T" tells for which functions`)
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}

function pack(folder) {
  const words = ['pack', '--silent', '--pack-destination', target]
  const name = execFileSync('npm', words, { cwd: folder, encoding: 'utf8' }).trim()
  console.log(join(target, name))
}
