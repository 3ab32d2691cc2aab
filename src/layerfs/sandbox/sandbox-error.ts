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
    this.exitCode = kind.exitCodeFor?.(failure) ?? kind.exitCode
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
  readonly exitCodeFor?: (failure: SandboxFailure) => 125 | 126 | 127
  readonly message: (failure: SandboxFailure) => string
}

const otherKind: Kind = {
  code: 'unavailable',
  exitCode: 125,
  message: ({ step, errno, detail }) =>
    `Cannot ${step}${detail === '' ? '' : ` "${printable(detail)}"`}: ${describeErrno(errno)}`,
}

/** It says itself what it lacks. */
const networkHelper: Kind = {
  code: 'unavailable',
  exitCode: 125,
  message: ({ step, detail }) =>
    `Cannot connect the container to a network: ${step.replace('start ', '')} ended: ${printable(detail)}`,
}

/** Another's words, which say what a shell would want to know. */
const ofRuntime: Kind = {
  code: 'unavailable',
  exitCode: 125,
  exitCodeFor: ({ detail }) => {
    if (/executable file .*not found|no such file or directory/i.test(detail)) return 127
    return /permission denied/i.test(detail) ? 126 : 125
  },
  message: ({ detail }) => `Cannot start the container: the runtime says: ${printable(detail)}`,
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
  'publish a port': {
    code: 'conflict',
    exitCode: 125,
    message: ({ errno, detail }) =>
      errno === EADDRINUSE
        ? `Bind for ${printable(detail)} failed: port is already allocated`
        : `Cannot publish port ${printable(detail)}: ${describeErrno(errno)}`,
  },
  'let the runtime create a container': ofRuntime,
  'let the runtime start a container': ofRuntime,
  'run the hook': {
    code: 'unavailable',
    exitCode: 125,
    message: ({ errno, detail }) =>
      `Cannot run the hook ${printable(detail)}${errno === ECANCELED ? '' : `: ${describeErrno(errno)}`}`,
  },
  'start pasta': networkHelper,
  'start slirp4netns': networkHelper,
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
const ENOENT = 2
const EACCES = 13
const EBUSY = 16
const EEXIST = 17
const EINVAL = 22
const ENOSPC = 28
const ENOSYS = 38
const ELOOP = 40
const EADDRINUSE = 98
const EADDRNOTAVAIL = 99
const ECANCELED = 125

interface Hint {
  /** The beginning of the step. */
  readonly step: string
  readonly errno: number
  readonly hint: string
}

/** The first that fits. */
const hints: readonly Hint[] = [
  { step: 'create namespaces', errno: EPERM, hint: 'it takes CAP_SYS_ADMIN: run as root' },
  {
    step: 'create namespaces',
    errno: ENOSPC,
    hint: 'raise the limits in /proc/sys/user/max_*_namespaces',
  },
  {
    step: 'create namespaces',
    errno: EINVAL,
    hint: 'the kernel was built without one of the namespaces mnt, pid, uts, ipc and net',
  },
  {
    step: 'mount the root',
    errno: EINVAL,
    hint: 'the kernel\'s log has the reason: "dmesg | grep overlayfs"',
  },
  {
    step: 'mount',
    errno: EPERM,
    hint: 'mounting takes CAP_SYS_ADMIN, and nothing can be mounted inside /proc',
  },
  {
    step: 'mount',
    errno: ELOOP,
    hint: 'the image has a symbolic link where a directory must be',
  },
  { step: 'mount', errno: EBUSY, hint: 'nothing can be mounted on the root itself' },
  {
    step: 'give up privileges',
    errno: EPERM,
    hint: 'it takes CAP_SETPCAP, CAP_SETUID and CAP_SETGID: run as root',
  },
  {
    step: 'publish a port',
    errno: EADDRINUSE,
    hint: 'Another program listens there, or another container has published it',
  },
  {
    step: 'publish a port',
    errno: EADDRNOTAVAIL,
    hint: 'This machine has no such address',
  },
  {
    step: 'publish a port',
    errno: EACCES,
    hint: 'Ports below the sysctl net.ipv4.ip_unprivileged_port_start are for root: use a higher one',
  },
  {
    step: 'start ',
    errno: 0,
    hint: 'Use --network host or none, or run as root',
  },
  {
    step: 'set a resource limit',
    errno: EPERM,
    hint: 'Raising a hard limit takes CAP_SYS_RESOURCE, which this process does not have',
  },
  {
    step: 'set the out-of-memory score',
    errno: EACCES,
    hint: 'Lowering it takes CAP_SYS_RESOURCE, which this process does not have',
  },
  {
    step: 'name the network device',
    errno: EEXIST,
    hint: 'An interface of that name is in the network of the container: give it another in linux.netDevices, or one with "%d"',
  },
  {
    step: 'move the network device',
    errno: EINVAL,
    hint: 'Interfaces of its kind stay where they were made',
  },
  {
    step: 'move the network device',
    errno: EPERM,
    hint: 'It takes CAP_NET_ADMIN in the network that it is in: run as root',
  },
  { step: 'set a sysctl', errno: ENOENT, hint: 'This kernel has no such setting' },
  {
    step: 'give up privileges',
    errno: EINVAL,
    hint: 'Without root, other users take ids of your own in /etc/subuid and /etc/subgid, and newuidmap (Debian: apt-get install uidmap)',
  },
  { step: '', errno: ENOSYS, hint: 'it takes Linux 5.12 or newer' },
]

function hintFor(failure: SandboxFailure): { hint?: string } {
  const found = hints.find(
    ({ step, errno }) => errno === failure.errno && failure.step.startsWith(step),
  )
  return found === undefined ? {} : { hint: found.hint }
}
