/**
 * Sizes as people write them: `64m`, `1.5g`, `1024`; powers of two.
 */
const powers = 'kmgtp'

/** Bytes; `undefined` when it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])(?:i?b)?|b)?$/i.exec(text)
  if (match === null) return undefined
  const [, digits = '', unit] = match
  const power = unit === undefined ? 0 : powers.indexOf(unit.toLowerCase()) + 1
  return Math.trunc(Number(digits) * 1024 ** power)
}
