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
  readonly security: Security
  readonly limits: Limits
  /** Lines of /etc/hosts beyond the standard ones, and DNS servers instead of the host's. */
  readonly extraHosts: readonly { readonly name: string; readonly address: string }[]
  readonly dns: readonly string[]
  /** Bytes of /dev/shm. */
  readonly shmSize: number
  readonly terminal: boolean
}

export type NetworkMode = 'none' | 'host' | 'bridge'

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
  readonly seccomp: 'default' | 'unconfined'
  readonly noNewPrivileges: boolean
  /** Masked and read-only paths of /proc and /sys as Docker has them, or none of them. */
  readonly paths: 'default' | 'unmasked'
}

export interface Limits {
  /** Bytes. */
  readonly memory?: number
  /** CPUs' worth of time: 1.5. */
  readonly cpus?: number
  readonly pids?: number
}

/** How the process ended. `code` is what a shell would report: 128+n after signal n. */
export interface ExitStatus {
  readonly code: number
  readonly signal?: number
  readonly outOfMemory: boolean
}
