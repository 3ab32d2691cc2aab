/** Sizes and times as docker prints them for people. */

const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Three significant digits, decimal units: `4.27MB`, `133MB`, `0B`. */
export function humanSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  // Through a number again: no trailing zeros, no exponent for 1000 after rounding.
  return `${Number(value.toPrecision(3))}${units[unit]}`
}

const steps: readonly (readonly [belowSeconds: number, describe: (seconds: number) => string])[] = [
  [1, () => 'Less than a second'],
  [2, () => '1 second'],
  [60, seconds => `${Math.floor(seconds)} seconds`],
  [120, () => 'About a minute'],
  [3600, seconds => `${Math.floor(seconds / 60)} minutes`],
  [7200, () => 'About an hour'],
  [48 * 3600, seconds => `${Math.floor(seconds / 3600)} hours`],
  [14 * 86_400, seconds => `${Math.floor(seconds / 86_400)} days`],
  [60 * 86_400, seconds => `${Math.floor(seconds / 604_800)} weeks`],
  [730 * 86_400, seconds => `${Math.floor(seconds / 2_592_000)} months`],
]

/** `3 days`, `About an hour`. A time in the future is none at all. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds / 1000)
  const step = steps.find(([below]) => seconds < below)
  return step === undefined ? `${Math.floor(seconds / 31_536_000)} years` : step[1](seconds)
}

/** `3 days ago`; `N/A` when nobody said when, as in a reproducible image of 1970 or earlier. */
export function humanAge(time: string | undefined, now: Date): string {
  const then = Date.parse(time ?? '')
  if (Number.isNaN(then) || then <= 0) return 'N/A'
  return `${humanDuration(now.getTime() - then)} ago`
}
