/**
 * A place to run sandboxes in: a root made of a static busybox, an upper directory, a stub layer.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { defaultPath, defaultSecurity, defaultShmSize } from '../../src/layerfs/sandbox/defaults.ts'
import { findRuntime } from '../../src/layerfs/sandbox/find-runtime.ts'
import { runSandbox } from '../../src/layerfs/sandbox/run.ts'
import type { SandboxIo } from '../../src/layerfs/sandbox/sandbox-io.ts'
import type { ExitStatus, SandboxSpec } from '../../src/layerfs/sandbox/spec.ts'

const busybox = '/bin/busybox'

/** Why this machine cannot run these tests, or nothing. */
export const missing =
  process.getuid?.() !== 0
    ? 'needs root'
    : existsSync(busybox)
      ? undefined
      : 'needs /bin/busybox (Debian: apt-get install busybox-static)'

export interface Box extends Disposable {
  readonly directory: string
  readonly layer: string
  readonly upper: string
  readonly work: string
  readonly stubs: string
  /** Writes a file of the image; its directory is there. */
  write(path: string, content: string | Uint8Array, mode: number): void
  link(path: string, target: string): void
  /** Further layer directories; each has a file of its own in /layers. */
  manyLayers(count: number): string[]
}

export interface Finished extends ExitStatus {
  readonly stdout: string
  readonly stderr: string
}

let runs = 0

/** The long lane runs the same tests on what crun or runc makes: CONTRIBUTING.md. */
export const isNative: boolean = process.env['TSBUILD_TEST_ISOLATION'] !== 'oci'

const otherRuntime = !isNative
  ? { runtime: findRuntime(process.env['PATH'] ?? '', process.env['TSBUILD_OCI_RUNTIME']) }
  : {}

export function makeBox(): Box {
  const directory = mkdtempSync('/tmp/sandbox-test-')
  const [layer, upper, work] = ['layer', 'upper', 'work'].map(name => join(directory, name))
  for (const path of [layer!, upper!, work!]) mkdirSync(path)
  mkdirSync(join(layer!, 'bin'))
  mkdirSync(join(layer!, 'etc'))
  mkdirSync(join(layer!, 'tmp'), { mode: 0o1777 })
  copyFileSync(busybox, join(layer!, 'bin/busybox'))
  for (const name of [
    'sh',
    'cat',
    'id',
    'ls',
    'ln',
    'ping',
    'setsid',
    'cut',
    'mv',
    'sleep',
    'true',
    'stty',
    'hostname',
    'mount',
    'grep',
    'touch',
    'mkdir',
    'echo',
    'kill',
    'readlink',
    'stat',
    'ip',
    'head',
    'chmod',
    'dd',
    'tty',
    'env',
    'pwd',
  ]) {
    symlinkSync('busybox', join(layer!, 'bin', name))
  }
  writeFileSync(join(layer!, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\n')
  return {
    directory,
    layer: layer!,
    upper: upper!,
    work: work!,
    stubs: join(directory, 'stubs'),
    write(path, content, mode) {
      writeFileSync(join(layer!, path), content)
      chmodSync(join(layer!, path), mode)
    },
    link(path, target) {
      symlinkSync(target, join(layer!, path))
    },
    manyLayers(count) {
      return Array.from({ length: count }, (_, index) => {
        const path = join(directory, 'layers', String(index))
        mkdirSync(join(path, 'layers'), { recursive: true })
        writeFileSync(join(path, 'layers', String(index)), '')
        return path
      })
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}

export function specFor(box: Box, changes: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    root: { kind: 'overlay', lower: [box.layer], upper: box.upper, work: box.work },
    readOnly: false,
    mounts: [],
    argv: ['true'],
    env: [`PATH=${defaultPath}`],
    cwd: '/',
    user: { uid: 0, gid: 0, groups: [] },
    hostname: 'box',
    network: 'none',
    security: defaultSecurity,
    limits: {},
    extraHosts: [],
    dns: [],
    shmSize: defaultShmSize,
    terminal: false,
    ...changes,
  }
}

/** What a run of a test differs in: of the spec, and of `io`. */
export interface Changes extends Partial<SandboxSpec> {
  readonly io?: Partial<SandboxIo>
}

/** Runs `script` with sh, or `changes.argv`, and gives its end and what it printed. */
export async function run(
  box: Box,
  script: string,
  { io = {}, ...changes }: Changes = {},
): Promise<Finished> {
  const printed = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  const status = await runSandbox(specFor(box, { argv: ['sh', '-c', script], ...changes }), {
    stdin: 'null',
    output: (stream, chunk) => printed[stream].push(Buffer.from(chunk)),
    stubs: box.stubs,
    ...otherRuntime,
    id: `test-${process.pid}-${runs++}`,
    ...io,
  })
  const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString()
  return { ...status, stdout: text(printed.stdout), stderr: text(printed.stderr) }
}
