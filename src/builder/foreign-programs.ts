/**
 * Steps for another machine: whether this one can run them, and what is missing when it cannot.
 *
 * The kernel hands a program for another machine to an interpreter that was registered in
 * binfmt_misc. In a container the interpreter's path leads nowhere, unless the registration opened
 * it already: flag F.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OciError } from '../oci/errors.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import { DockerfileError } from './dockerfile/error.ts'

/** What the kernel knows an architecture by: `e_machine` of its programs, and qemu's word for it. */
const machines: Readonly<Record<string, { readonly machine: number; readonly qemu: string }>> = {
  '386': { machine: 3, qemu: 'i386' },
  amd64: { machine: 62, qemu: 'x86_64' },
  arm: { machine: 40, qemu: 'arm' },
  arm64: { machine: 183, qemu: 'aarch64' },
  loong64: { machine: 258, qemu: 'loongarch64' },
  mips64le: { machine: 8, qemu: 'mips64el' },
  ppc64le: { machine: 21, qemu: 'ppc64le' },
  riscv64: { machine: 243, qemu: 'riscv64' },
  s390x: { machine: 22, qemu: 's390x' },
}

export const binfmtDirectory = '/proc/sys/fs/binfmt_misc'

/**
 * Why programs for `platform` cannot run, and what to do about it; `undefined` when the machine is
 * ready for them.
 */
export function foreignProblem(
  platform: Platform,
  directory: string = binfmtDirectory,
): string | undefined {
  const known = machines[platform.architecture]
  const names = namesIn(directory)
  if (!names.includes('status')) {
    return `binfmt_misc is not mounted: mount -t binfmt_misc binfmt_misc ${binfmtDirectory}`
  }
  const handlers = names
    .filter(name => name !== 'status' && name !== 'register')
    .map(name => ({ name, text: readOr(join(directory, name), '') }))
    .filter(
      ({ name, text }) => name === `qemu-${known?.qemu}` || machineOf(text) === known?.machine,
    )
  const [first] = handlers
  if (first === undefined) {
    return `no handler${known === undefined ? '' : ` qemu-${known.qemu}`} is in ${binfmtDirectory}: install qemu-user-static and binfmt-support, or run tonistiigi/binfmt once`
  }
  const enabled = handlers.filter(({ text }) => text.startsWith('enabled'))
  if (enabled.length === 0) {
    return `its handler ${first.name} is off: echo 1 > ${binfmtDirectory}/${first.name}`
  }
  if (enabled.some(({ text }) => /^flags:.*F/m.test(text))) return undefined
  return `its handler ${first.name} was registered without flag F, so it is not found in a container: register it again with it`
}

/** The `e_machine` that a handler's magic asks for; bytes 18 and 19, in the program's own order. */
function machineOf(text: string): number | undefined {
  const magic = Buffer.from(/^magic ([0-9a-f]+)$/m.exec(text)?.[1] ?? '', 'hex')
  if (magic.length < 20) return undefined
  return magic[5] === 2 ? magic.readUInt16BE(18) : magic.readUInt16LE(18)
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')) return []
    throw error
  }
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')) return fallback
    throw error
  }
}

/** A failure to execute a program for another machine, with what the machine lacks for it. */
export function explainForeign(error: unknown, wanted: Platform, host: Platform): unknown {
  if (!(error instanceof OciError) || !error.message.includes('(ENOEXEC)')) return error
  if (wanted.os === host.os && wanted.architecture === host.architecture) return error
  const problem = foreignProblem(wanted)
  if (problem === undefined) return error
  const { span, file } = error instanceof DockerfileError ? error : {}
  return new DockerfileError(error.message, {
    code: error.code,
    span,
    file,
    cause: error,
    hint: `The step is for ${formatPlatform(wanted)} and this machine is ${formatPlatform(host)}: ${problem}`,
  })
}
