/** Two layers' tars, member by member: what a build that did not come out the same did differently. */
import { createHash } from 'node:crypto'
import type { Chunks } from '../../layerfs/compression/byte-source.ts'
import { decompress } from '../../layerfs/compression/decompress.ts'
import type { TarEntry } from '../../layerfs/tar/entry.ts'
import { TarReader } from '../../layerfs/tar/reader.ts'
import { printable } from '../../oci/errors.ts'

export interface FileDifference {
  readonly path: string
  /** `content`, `mode`, …; `only in one` for a file that the other lacks. */
  readonly what: readonly string[]
}

/** Each traits' value by what it is called. */
type Member = Readonly<Record<string, string>>

/** `one` and `other` are gzip; in order of their paths. */
export async function compareLayers(one: Chunks, other: Chunks): Promise<FileDifference[]> {
  const [first, second] = await Promise.all([membersOf(one), membersOf(other)])
  const paths = [...new Set([...first.keys(), ...second.keys()])].toSorted()
  const differences = paths.map(path => ({
    path: printable(path, 1000),
    what: differing(first.get(path), second.get(path)),
  }))
  return differences.filter(({ what }) => what.length > 0)
}

function differing(one: Member | undefined, other: Member | undefined): string[] {
  if (one === undefined || other === undefined) return ['only in one']
  return Object.keys(one).filter(trait => one[trait] !== other[trait])
}

async function membersOf(chunks: Chunks): Promise<Map<string, Member>> {
  const members = new Map<string, Member>()
  let current: TarEntry | undefined
  let hash = createHash('sha256')
  const reader = new TarReader({
    onEntry: entry => {
      current = entry
      hash = createHash('sha256')
      members.set(entry.path.toString(), traitsOf(entry, ''))
    },
    onData: chunk => {
      hash.update(chunk)
    },
    onEnd: () => {
      if (current === undefined) return
      members.set(current.path.toString(), traitsOf(current, hash.digest('hex')))
    },
  })
  for await (const chunk of decompress(chunks, 'gzip')) reader.push(chunk)
  reader.end()
  return members
}

function traitsOf(entry: TarEntry, content: string): Member {
  const { type, mode, uid, gid, mtime, linkPath, devMajor, devMinor, xattrs } = entry
  return {
    type,
    content,
    mode: mode.toString(8),
    owner: `${uid}:${gid}`,
    time: `${mtime.seconds}.${mtime.nanoseconds}`,
    target: linkPath.toString('hex'),
    device: `${devMajor}:${devMinor}`,
    attributes: xattrs
      .map(({ name, value }) => `${name.toString('hex')}=${value.toString('hex')}`)
      .join(),
  }
}
