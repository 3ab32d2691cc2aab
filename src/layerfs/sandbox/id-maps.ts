/**
 * Which ids root of a user namespace of ours has: the user's own as 0, and those that the machine's
 * administrator gave it in /etc/subuid and /etc/subgid from 1 on. Pure.
 */

/** Ids of the machine, in a row. */
export interface IdRange {
  readonly start: number
  readonly count: number
}

/** `name:start:count` or `id:start:count` a line; others and broken ones are nobody's. */
export function subordinateIds(
  text: string,
  { name, id }: { readonly name: string | undefined; readonly id: number },
): IdRange[] {
  return text.split('\n').flatMap(line => {
    const [owner = '', start = '', count = '', ...rest] = line.trim().split(':')
    if (owner === '' || (owner !== name && owner !== String(id)) || rest.length > 0) return []
    if (!/^\d+$/.test(start) || !/^\d+$/.test(count)) return []
    const range = { start: Number(start), count: Number(count) }
    return range.count > 0 && range.start + range.count <= maxId ? [range] : []
  })
}

const maxId = 0xffff_ffff

/** As newuidmap(1) takes it: `0 1000 1 1 100000 65536`. */
export function idMap(own: number, ranges: readonly IdRange[]): string {
  const words = [0, own, 1]
  let next = 1
  for (const { start, count } of ranges) {
    words.push(next, start, count)
    next += count
  }
  return words.join(' ')
}
