// Finds what takes longer than the length of an input explains.

const pumpedLength = 100_000

// The text with a part of it repeated until it is long; `seed` chooses the part.
export function pumped(text, seed) {
  if (text.length === 0) return text
  const from = (seed * 7919) % text.length
  const part = text.slice(from, from + 1 + ((seed * 104_729) % 60))
  const times = Math.floor(pumpedLength / part.length)
  return text.slice(0, from) + part.repeat(times) + text.slice(from)
}

// Throws when `action` takes more than `seconds` of processor time three times over: others use this
// machine too.
export function within(seconds, action) {
  for (let attempt = 0; attempt < 3; attempt++) {
    const before = process.cpuUsage()
    action()
    if (process.cpuUsage(before).user < 1e6 * seconds) return
  }
  throw new Error(`Takes more than ${seconds} s`)
}
