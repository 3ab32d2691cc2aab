/** A root with a static program that does nothing, and the bundle by which other runtimes know it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createCgroup } from '../../src/layerfs/sandbox/cgroup.ts'
import {
  defaultPath,
  defaultSecurity,
  defaultShmSize,
  dockerCapabilities,
  maskedPaths,
  readOnlyPaths,
} from '../../src/layerfs/sandbox/defaults.ts'
import { encodeOperations } from '../../src/layerfs/sandbox/operations.ts'
import type { SandboxSpec } from '../../src/layerfs/sandbox/spec.ts'
import { stubDirectory } from '../../src/layerfs/sandbox/stub-directory.ts'
import { command } from '../measure.ts'

export interface Place extends Disposable {
  readonly directory: string
  /** Has `/true`; several containers may have it at once. */
  readonly layer: string
  readonly bundle: string
  specFor(network: SandboxSpec['network']): SandboxSpec
  /** What the native program reads, and the cgroup that it names: of one container, as each has its own. */
  prepare(network: SandboxSpec['network']): PreparedRun
}

export interface PreparedRun extends Disposable {
  readonly operations: Buffer
}

/**
 * It ends at once, and no library begins first: that of glibc takes 0.6 ms in a virtual machine, to
 * ask the processor what it is, which is no runtime's doing (measured).
 */
const exit = {
  x64: 'mov $60, %eax\\n xor %edi, %edi\\n syscall',
  arm64: 'mov x8, #93\\n mov x0, #0\\n svc #0',
}[process.arch as 'x64' | 'arm64']
const trueProgram = `void _start(void) { __asm__ volatile("${exit}"); }\n`

export function makePlace(): Place {
  let runs = 0
  const directory = mkdtempSync('/tmp/tsbuild-bench-sandbox-')
  const [layer, bundle] = [join(directory, 'layer'), join(directory, 'bundle')]
  for (const path of [layer, bundle]) mkdirSync(path)
  const source = join(directory, 'true.c')
  writeFileSync(source, trueProgram)
  command('cc', ['-static', '-nostdlib', '-O1', '-o', join(layer, 'true'), source])
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(bundleConfig(layer)))
  const specFor = (network: SandboxSpec['network']): SandboxSpec => ({
    root: { kind: 'overlay', lower: [layer] },
    readOnly: false,
    mounts: [],
    argv: ['/true'],
    env: [`PATH=${defaultPath}`],
    cwd: '/',
    user: { uid: 0, gid: 0, groups: [0] },
    hostname: 'bench',
    network,
    security: defaultSecurity,
    limits: {},
    extraHosts: [],
    dns: [],
    shmSize: defaultShmSize,
    terminal: false,
  })
  return {
    directory,
    layer,
    bundle,
    specFor,
    prepare: network => {
      const cgroup = createCgroup(`bench-${runs++}`, { limits: {}, devices: [] })
      const operations = encodeOperations(specFor(network), {
        stubs: stubDirectory(join(directory, 'stubs')),
        volatile: true,
        classicOverlay: false,
        cgroups: cgroup.procs,
        cgroup2: false,
        resolvConf: '',
        devices: cgroup.devices,
      })
      return { operations, [Symbol.dispose]: () => cgroup[Symbol.dispose]() }
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** The same container in OCI's words. */
function bundleConfig(root: string): object {
  const inert = ['nosuid', 'noexec', 'nodev']
  const mount = (destination: string, type: string, options: readonly string[]) => ({
    destination,
    type,
    source: type,
    options,
  })
  const capabilities = { bounding: dockerCapabilities, permitted: dockerCapabilities }
  return {
    ociVersion: '1.0.2',
    root: { path: root },
    hostname: 'bench',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/true'],
      env: [`PATH=${defaultPath}`],
      cwd: '/',
      capabilities: { ...capabilities, effective: dockerCapabilities },
    },
    mounts: [
      mount('/proc', 'proc', inert),
      mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
      mount('/dev/pts', 'devpts', [
        'nosuid',
        'noexec',
        'newinstance',
        'ptmxmode=0666',
        'mode=0620',
      ]),
      mount('/dev/shm', 'tmpfs', [...inert, 'mode=1777', `size=${defaultShmSize}`]),
      mount('/dev/mqueue', 'mqueue', inert),
      mount('/sys', 'sysfs', [...inert, 'ro']),
    ],
    linux: {
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map(type => ({ type })),
      maskedPaths: maskedPaths(),
      readonlyPaths: readOnlyPaths,
      seccomp: seccomp(),
    },
  }
}

interface ProfileRule {
  readonly names: readonly string[]
  readonly action: string
  readonly errnoRet?: number
  readonly args?: readonly object[] | null
  readonly includes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] }
  readonly excludes?: { readonly caps?: readonly string[] }
}

/** Podman's profile, nearly Docker's, as far as it applies to Docker's capabilities. */
function seccomp(): object | undefined {
  const path = '/usr/share/containers/seccomp.json'
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
  const { defaultAction, defaultErrnoRet, syscalls } = JSON.parse(text)
  const has = (name: string) => dockerCapabilities.includes(name)
  const applies = ({ includes = {}, excludes = {} }: ProfileRule) =>
    (includes.caps ?? []).every(has) &&
    (includes.arches ?? ['amd64']).includes('amd64') &&
    !(excludes.caps ?? []).some(has)
  return {
    defaultAction,
    defaultErrnoRet,
    architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
    syscalls: syscalls
      .filter(applies)
      .map(({ names, action, errnoRet, args }: ProfileRule) => ({ names, action, errnoRet, args })),
  }
}
