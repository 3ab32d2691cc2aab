// A fault behind four doors, which only who is guided by coverage finds: tests the fuzzer itself.
export const watched = /\/fuzz\/maze\.mjs/

export function open() {
  return { seeds: [Buffer.from('....')], words: [], run, close() {} }
}

function run(bytes) {
  if (isBelow(bytes[0], 16)) {
    if (isBelow(bytes[1], 16)) {
      if (isBelow(bytes[2], 16)) {
        if (isBelow(bytes[3], 16)) throw new Error('The end of the maze')
      }
    }
  }
}

function isBelow(byte, limit) {
  return byte !== undefined && byte < limit
}
