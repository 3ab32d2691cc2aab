/**
 * SandboxError: the sandbox could not be made, or the program in it could not be started.
 */
import { getSystemErrorMap } from 'node:util'
import { type ErrorCode, OciError, printable } from '../../oci/errors.ts'

export class SandboxError extends OciError {
  override readonly name = 'SandboxError'
  /** What was attempted, in the native program's words: `mount`, `find`, `enter a cgroup`. */
  readonly step: string
  /** What a shell would exit with: 127 not found, 126 found but it cannot run, 125 anything else. */
  readonly exitCode: 125 | 126 | 127

  constructor(failure: SandboxFailure) {
    const kind = kinds[failure.step] ?? otherKind
    super(kind.code, kind.message(failure), hintFor(failure))
    this.step = failure.step
    this.exitCode = kind.exitCode
  }
}

/** As the native program reports it. */
export interface SandboxFailure {
  readonly step: string
  /** A system error number; 0 when no call failed. */
  readonly errno: number
  readonly detail: string
}

interface Kind {
  readonly code: ErrorCode
  readonly exitCode: 125 | 126 | 127
  readonly message: (failure: SandboxFailure) => string
}

const otherKind: Kind = {
  code: 'unavailable',
  exitCode: 125,
  message: ({ step, errno, detail }) =>
    `Cannot ${step}${detail === '' ? '' : ` "${printable(detail)}"`}: ${describeErrno(errno)}`,
}

const kinds: Readonly<Record<string, Kind>> = {
  find: {
    code: 'not-found',
    exitCode: 127,
    message: ({ errno, detail }) =>
      detail.includes('/')
        ? `Cannot run "${printable(detail)}": ${describeErrno(errno)}`
        : `Cannot run "${printable(detail)}": executable file not found in $PATH`,
  },
  execute: {
    code: 'denied',
    exitCode: 126,
    message: ({ errno, detail }) => `Cannot run "${printable(detail)}": ${describeErrno(errno)}`,
  },
  'find the interpreter of': {
    code: 'not-found',
    exitCode: 126,
    message: ({ detail }) =>
      `Cannot run "${printable(detail)}": the file is there, but its interpreter (the "#!" line or the dynamic loader) is not`,
  },
  'change the working directory': {
    code: 'invalid',
    exitCode: 126,
    message: ({ errno, detail }) =>
      `Cannot change to the working directory "${printable(detail)}": ${describeErrno(errno)}`,
  },
}

function describeErrno(errno: number): string {
  const known = ownWords[errno] ?? getSystemErrorMap().get(-errno)
  if (known === undefined) return `system error ${errno}`
  const [name, text] = known
  return `${text} (${name})`
}

/** Errors that Node has no words for. */
const ownWords: Readonly<Record<number, readonly [name: string, text: string]>> = {
  8: ['ENOEXEC', 'exec format error: a script without "#!", or a program for another machine'],
}

const EPERM = 1
const EINVAL = 22
const ENOSPC = 28
const ENOSYS = 38
const ELOOP = 40

function hintFor({ step, errno }: SandboxFailure): { hint?: string } {
  if (step === 'create namespaces' && errno === EPERM) {
    return { hint: 'it takes CAP_SYS_ADMIN: run as root' }
  }
  if (step === 'create namespaces' && errno === ENOSPC) {
    return { hint: 'raise the limits in /proc/sys/user/max_*_namespaces' }
  }
  if (step === 'create namespaces' && errno === EINVAL) {
    return { hint: 'the kernel was built without one of the namespaces: mnt, pid, uts, ipc, net' }
  }
  if (step.startsWith('mount') && errno === EPERM) {
    return { hint: 'mounting takes CAP_SYS_ADMIN, and nothing can be mounted inside /proc' }
  }
  if (step.startsWith('mount') && errno === ELOOP) {
    return { hint: 'the image has a symbolic link where a directory must be' }
  }
  if (step === 'give up privileges' && errno === EPERM) {
    return { hint: 'it takes CAP_SETPCAP, CAP_SETUID and CAP_SETGID: run as root' }
  }
  if (errno === ENOSYS) return { hint: 'it takes Linux 5.12 or newer' }
  return {}
}
