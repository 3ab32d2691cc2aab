/**
 * SandboxSpec: what to run and what it may see, as a plain value. No images, no Dockerfiles here.
 */
import type { RootMount } from '../mount.ts'

export interface SandboxSpec {
  readonly root: RootMount
  /** Remounts the root read-only once everything is in place. */
  readonly readOnly: boolean
  /** In order; later ones lie over earlier ones. Targets are resolved inside the root. */
  readonly mounts: readonly SandboxMount[]
  readonly argv: readonly string[]
  /** `KEY=value`. The first word of `argv` is looked up in its PATH, inside the root. */
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: SandboxUser
  readonly hostname: string
  readonly network: NetworkMode
  /** For `bridge`; absent: the one of `defaults.ts`. */
  readonly bridge?: BridgeNetwork
  /** For `bridge`. */
  readonly ports?: readonly PublishedPort[]
  readonly security: Security
  readonly limits: Limits
  /** Lines of /etc/hosts beyond the standard ones, and DNS servers instead of the host's. */
  readonly extraHosts: readonly { readonly name: string; readonly address: string }[]
  readonly dns: readonly string[]
  /** Bytes of /dev/shm. */
  readonly shmSize: number
  /** Search domains and options of the resolver instead of the host's. */
  readonly dnsSearch?: readonly string[]
  readonly dnsOptions?: readonly string[]
  readonly terminal: boolean
  readonly domainname?: string
  /** Whether root inside may change /etc/hosts and its like, where the root is no read-only one. */
  readonly hostFiles?: 'read-only' | 'writable'
  /** Namespaces that are the host's; all others are the container's own. */
  readonly shared?: readonly ('ipc' | 'pid' | 'uts')[]
  /** Namespaces of other containers; that of the network goes with the mode `container`. */
  readonly joined?: readonly JoinedNamespace[]
  /** The first process is an init of ours: it reaps, and hands signals on to `argv`. */
  readonly init?: boolean
  readonly devices?: readonly SandboxDevice[]
  readonly resourceLimits?: readonly ResourceLimit[]
  /** Names with dots or slashes; only those that are the container's own make sense. */
  readonly sysctls?: readonly (readonly [name: string, value: string])[]
  /** From -1000, which the kernel kills last, to 1000. */
  readonly oomScoreAdjustment?: number
  /** Checked as long as it runs, where somebody keeps what comes of it. */
  readonly health?: HealthCheck
}

/** A command inside, of the same user and with the same rights, that fails while something is wrong. */
export interface HealthCheck {
  readonly argv: readonly string[]
  /** Milliseconds, as all here: from the end of one check to the next, and how long one may take. */
  readonly interval: number
  readonly timeout: number
  /** How long it may fail at the beginning, and the interval until then. */
  readonly startPeriod: number
  readonly startInterval: number
  /** How many that fail one after the other mean something. */
  readonly retries: number
}

/** A device of the host. */
export interface SandboxDevice {
  readonly source: string
  /** Below /dev. */
  readonly target: string
  /** Some of `r` read, `w` write, `m` make nodes of it. */
  readonly access: string
}

/** As setrlimit(2); `unlimited` is its infinity. */
export interface ResourceLimit {
  /** Without `RLIMIT_`, in lower case: `nofile`. */
  readonly name: string
  readonly soft: number | 'unlimited'
  readonly hard: number | 'unlimited'
}

export interface JoinedNamespace {
  readonly kind: 'ipc' | 'network' | 'pid'
  /** Of the other container's first process, outside. */
  readonly pid: number
}

/** `container`: another's, which `joined` has. */
export type NetworkMode = 'none' | 'host' | 'bridge' | 'container'

/** A port of the host that leads to one of the container. */
export interface PublishedPort {
  /** An address of the host; `0.0.0.0` or `::`: all. */
  readonly hostAddress: string
  /** 0: any that is free. */
  readonly hostPort: number
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  /** The one before on IPv6, too, by the same number; left out where this machine has no IPv6. */
  readonly isTwin?: true
}

export interface BridgeNetwork {
  /** The host's interface; made when missing. */
  readonly name: string
  /** `10.213.0.0/16`; its first address is the gateway. */
  readonly subnet: string
  /** Holds the addresses in use, as locks. */
  readonly lockDirectory: string
}

export interface SandboxUser {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
}

export type SandboxMount =
  | {
      readonly kind: 'bind'
      /** Absolute path outside; a directory or a file. */
      readonly source: string
      readonly target: string
      readonly readOnly: boolean
      readonly recursive: boolean
    }
  | {
      /** Out of another filesystem state; `source` is looked up inside it. */
      readonly kind: 'layers'
      readonly root: RootMount
      readonly source: string
      readonly target: string
      readonly readOnly: boolean
    }
  | {
      readonly kind: 'tmpfs'
      readonly target: string
      /** Bytes; absent: half of memory, the kernel's default. */
      readonly size?: number
      readonly mode: number
    }
  | {
      /** A file that exists only in memory and only inside: a secret. */
      readonly kind: 'file'
      readonly target: string
      readonly content: Uint8Array
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }

export interface Security {
  /** Names as in capabilities(7): `CAP_CHOWN`. Bounding, permitted and effective; no others. */
  readonly capabilities: readonly string[]
  /** `Uint8Array`: a classic BPF program, as the kernel takes it. */
  readonly seccomp: 'default' | 'unconfined' | Uint8Array
  readonly noNewPrivileges: boolean
  /** Which devices work when somebody makes a node of them; absent: those of Docker. */
  readonly devices?: 'default' | 'all'
  /** Masked and read-only paths of /proc and /sys as Docker has them, or none of them. */
  readonly paths: 'default' | 'unmasked'
}

export interface Limits {
  /** Bytes. */
  readonly memory?: number
  /** Bytes of memory and swap together; absent: twice `memory`. Means nothing without `memory`. */
  readonly memorySwap?: number | 'unlimited'
  /** Bytes that are left to it longest when memory is short. */
  readonly memoryReservation?: number
  /** Weight against others when the CPUs are busy: 2 to 262144, usually 1024. */
  readonly cpuShares?: number
  /** `0-1,3`: the CPUs it may run on. */
  readonly cpuset?: string
  /** Weight against others when a disk is busy: 10 to 1000, usually 500. */
  readonly ioWeight?: number
  readonly ioRates?: readonly IoRate[]
  /** CPUs' worth of time: 1.5. */
  readonly cpus?: number
  readonly pids?: number
}

/** How much it may read or write of a disk in a second. */
export interface IoRate {
  readonly major: number
  readonly minor: number
  readonly kind: 'read-bps' | 'write-bps' | 'read-iops' | 'write-iops'
  /** Bytes or operations. */
  readonly rate: number
}

/** How the process ended. `code` is what a shell would report: 128+n after signal n. */
export interface ExitStatus {
  readonly code: number
  readonly signal?: number
  readonly outOfMemory: boolean
}
