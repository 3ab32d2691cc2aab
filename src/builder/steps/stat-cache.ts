/**
 * StatCache: what is known of the files of a build context by how they look to `lstat`, so that a
 * context that did not change costs one such call for each file.
 *
 * A file whose bytes or attributes change gets a new ctime, which nobody can set back. But two
 * changes within one tick of the file system's clock look the same, so what was changed within
 * {@link settleSeconds} of being looked at is not remembered beyond this build.
 */
import type { Listing } from '../../layerfs/native/listing.ts'
import type { KeyParts } from '../solve/graph.ts'
import { FileContents } from './file-contents.ts'

const settleSeconds = 2

export interface StatCache {
  /** `place` is the same in the next build: the directory's path. */
  contentsOf(place: string, listing: Listing): Promise<KnownContents>
  /** As it was when this build asked for its contents last; `undefined`: it did not. */
  listingOf(place: string): Listing | undefined
  /** What all sources of a step gave together when they looked like this: the same question. */
  answerTo(question: Question): KeyParts | undefined
  keepAnswer(question: Question, answer: Answer): void
}

/** What stands for file bodies and extended attributes, by an entry's place in the listing. */
export interface KnownContents {
  find(index: number): string | undefined
  put(index: number, content: string): void
  /** As `find` tells them, of this entry and those behind it: where they are mere digests. */
  digestsFrom(index: number): Uint8Array
}

export interface Question {
  /** What the step asks for, and of which places. */
  readonly step: string
  /** How all of it looks. */
  readonly looks: string
}

export interface Answer {
  readonly parts: KeyParts
  /** When any of the files was changed last, in whole seconds since 1970. */
  readonly changed: number
}

export interface KnownDirectory {
  readonly listing: Listing
  readonly contents: FileContents
}

/** What the last build knew; each is read when it is asked for first. */
export interface Earlier {
  answers(): ReadonlyMap<string, Omit<Question, 'step'> & Pick<Answer, 'parts'>>
  directories(): Promise<ReadonlyMap<string, KnownDirectory>>
}

/** What to keep for the next build: what this one used, without what is not settled. */
export interface Learned {
  readonly answers: ReadonlyMap<string, Omit<Question, 'step'> & Pick<Answer, 'parts'>>
  readonly directories: ReadonlyMap<string, KnownDirectory>
}

export const nothingEarlier: Earlier = {
  answers: () => new Map(),
  directories: async () => new Map(),
}

export interface LearningStatCache extends StatCache {
  /** `undefined`: nothing that the last build did not know. */
  learned(): Promise<Learned | undefined>
}

export function statCache(earlier: Earlier, now: () => Date): LearningStatCache {
  const used = new Map<string, KnownDirectory>()
  const answers = new Map<string, Omit<Question, 'step'> & Answer>()
  let isNew = false
  /** Whose files are as they were, but were not looked up one by one. */
  let hasAnswered = false
  return {
    contentsOf: async (place, listing) => {
      const known = used.get(place) ?? (await earlier.directories()).get(place)
      const contents = aligned(listing, known)
      used.set(place, { listing, contents })
      return {
        find: index => contents.find(index),
        put: (index, content) => {
          contents.put(index, content)
          isNew = true
        },
        digestsFrom: index => contents.digestsFrom(index),
      }
    },
    listingOf: place => used.get(place)?.listing,
    answerTo: ({ step, looks }) => {
      const known = answers.get(step) ?? earlier.answers().get(step)
      if (known?.looks !== looks) return undefined
      hasAnswered = true
      return known.parts
    },
    keepAnswer: ({ step, looks }, answer) => {
      answers.set(step, { looks, ...answer })
      isNew = true
    },
    learned: async () => {
      if (!isNew) return undefined
      const latest = now().getTime() / 1000 - settleSeconds
      const isSettled = (changed: number) => changed <= latest
      const settled = [...answers].filter(([, { changed }]) => isSettled(changed))
      const others = hasAnswered ? await earlier.directories() : []
      return {
        answers: new Map([...earlier.answers(), ...settled]),
        directories: new Map([...others, ...settledOnly(used, isSettled)]),
      }
    },
  }
}

/** Both are sorted: of each entry that looks as it did, what was known of it. */
function aligned(listing: Listing, known: KnownDirectory | undefined): FileContents {
  if (known === undefined) return FileContents.unknown(listing.length)
  if (known.listing.bytes.equals(listing.bytes)) return known.contents.copy()
  const contents = FileContents.unknown(listing.length)
  const { listing: before } = known
  let old = 0
  for (let index = 0; index < listing.length; index++) {
    const name = listing.latin1(index)
    while (old < before.length && before.latin1(old) < name) old++
    if (old === before.length) break
    if (!listing.hasSame(index, before, old)) continue
    contents.take(index, known.contents, old)
  }
  return contents
}

function settledOnly(
  used: ReadonlyMap<string, KnownDirectory>,
  isSettled: (changed: number) => boolean,
): ReadonlyMap<string, KnownDirectory> {
  return new Map(
    [...used].map(([place, directory]) => {
      const { listing } = directory
      if (isSettled(listing.lastChange)) return [place, directory]
      const contents = directory.contents.copy()
      for (let index = 0; index < listing.length; index++) {
        if (!isSettled(listing.changed(index))) contents.forget(index)
      }
      return [place, { listing, contents }]
    }),
  )
}
