/** Tells the number of bytes so far with every chunk that passes. */
export async function* countBytes(
  chunks: AsyncIterable<Uint8Array>,
  tell: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  for await (const chunk of chunks) {
    bytes += chunk.byteLength
    tell(bytes)
    yield chunk
  }
}
