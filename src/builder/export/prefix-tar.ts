import type { EntryType } from '../../layerfs/tar/entry.ts'
import { TarReader } from '../../layerfs/tar/reader.ts'
import { contentPadding, encodeEntry } from '../../layerfs/tar/writer.ts'

/** Types whose link path names another member of the same archive. */
const linksInside: ReadonlySet<EntryType> = new Set(['hardlink'])

/**
 * The members of a tar of ours, each below `prefix` (`linux_arm64/`), without the end of the
 * archive: more may follow. Throws what `TarReader` throws.
 */
export async function* prefixTar(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  prefix: string,
): AsyncGenerator<Uint8Array> {
  const start = Buffer.from(prefix)
  let ready: Uint8Array[] = []
  let size = 0
  const reader = new TarReader({
    onEntry: entry => {
      size = entry.size
      const isInside = linksInside.has(entry.type)
      ready.push(
        encodeEntry({
          ...entry,
          path: Buffer.concat([start, entry.path]),
          linkPath: isInside ? Buffer.concat([start, entry.linkPath]) : entry.linkPath,
        }),
      )
    },
    onData: chunk => ready.push(Buffer.from(chunk)),
    onEnd: () => ready.push(contentPadding(size)),
  })
  const taken = (): Uint8Array[] => {
    const now = ready
    ready = []
    return now
  }
  for await (const chunk of chunks) {
    reader.push(chunk)
    yield* taken()
  }
  reader.end()
  yield* taken()
}
