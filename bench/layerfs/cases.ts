/** What is measured, and against what. Each case runs in a process of its own: its memory is its. */

import type { Case } from './case.ts'
import { largeCommit, parallelGzip, smallDiff, unpackGzip, unpackPlain } from './layers.ts'
import { pullCase } from './pull.ts'

export const cases: readonly Case[] = [
  unpackPlain,
  unpackGzip,
  pullCase,
  smallDiff,
  largeCommit,
  parallelGzip,
]
