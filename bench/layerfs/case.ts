export interface CaseOptions {
  /** Empty, on a tmpfs; removed afterwards. */
  readonly directory: string
  readonly isQuick: boolean
}

export interface Reference {
  readonly name: string
  readonly ms: readonly number[]
  /** Our time is to be at most this many times theirs. */
  readonly goal?: number
}

export interface CaseResult {
  /** Milliseconds of each run. */
  readonly ours: readonly number[]
  /** Of the process that did it, in bytes. */
  readonly peakMemory?: number
  readonly memoryLimit?: number
  /** How much there was to do. */
  readonly detail: string
  readonly references: readonly Reference[]
  readonly limitMs?: number
}

export interface Case {
  readonly title: string
  run(options: CaseOptions): Promise<CaseResult>
}
