import type { Writable } from 'node:stream'
import type { Chunks } from './byte-source.ts'

/** Writes all of `source` to `sink`; reads on to its end when the sink wants no more. */
export async function feed(source: Chunks, sink: Writable): Promise<void> {
  let isOver = false
  const over = new Promise<void>(resolve => {
    for (const event of ['end', 'close', 'error']) sink.once(event, () => resolve())
  }).then(() => {
    isOver = true
  })
  for await (const chunk of source) {
    if (isOver) continue
    // `once` would reject, and leave a listener behind, for each race that it loses.
    if (!sink.write(chunk)) {
      await Promise.race([new Promise<void>(resolve => sink.once('drain', resolve)), over])
    }
  }
  if (!isOver) sink.end()
}
