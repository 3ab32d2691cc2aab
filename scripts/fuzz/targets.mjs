// What can be fuzzed. A target's module exports:
//
//   watched            pattern of the files (URLs) whose coverage guides
//   open()             { seeds, words, run(input), repair?(input), close() }
//     seeds            inputs to begin with, as Buffers; the interesting and the hostile ones
//     words            byte strings that the format gives a meaning
//     run(input)       may be async; throws for what is a fault of ours. Refusing bad input is none
//     block            how long the pieces are that mutations move; 512 unless told
//     repair(input)    makes checksums right again after a mutation, in place
export const targets = {
  dockerfile: './dockerfile.mjs',
  phrases: './phrases.mjs',
  tar: './tar.mjs',
  apply: './apply.mjs',
  maze: './maze.mjs',
}
