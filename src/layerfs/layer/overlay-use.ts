/**
 * Whether the kernel lays directories over each other, or whether files are copied instead
 * (copied-tree.ts). One answer for the whole process, found when a store is opened
 * (snapshot/choose-driver.ts); threads are told it when they are started.
 */
export type OverlayUse = 'overlay' | 'copy'

export interface OverlayChoice {
  /** Absent: whichever works. */
  readonly wanted?: OverlayUse
  /** Told, once, why files are copied when nobody wanted it. */
  readonly onCopying?: (obstacle: string) => void
}

let current: OverlayUse = 'overlay'
let choice: OverlayChoice = {}

export function overlayUse(): OverlayUse {
  return current
}

export function setOverlayUse(use: OverlayUse): void {
  current = use
}

export function overlayChoice(): OverlayChoice {
  return choice
}

/** What the user says; before a store is opened. */
export function setOverlayChoice(made: OverlayChoice): void {
  choice = made
}
