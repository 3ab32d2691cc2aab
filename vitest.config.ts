import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { ClosingLine } from './scripts/closing-line.mjs'
import { LongestFirst } from './scripts/longest-first.mjs'

/** Real daemons, a shared kernel and a busy machine: CI asks a second time before it calls it broken. */
const retry = process.env['CI'] === undefined ? 0 : 1

const leavesNothing = 'test/support/no-leftovers.ts'
const setupFiles = [leavesNothing, 'test/support/native-folder.ts']

/** They judge what is left on the whole machine, cgroups and bridge ports, or how long it takes. */
const alone = ['test/e2e/kill-{sharing,tsbuild,tsrun}.test.ts', 'test/e2e/quickstart.test.ts']

/** One more than the least machine has cores: many a test waits for daemons, disks and clocks. */
const maxWorkers = 3

/** For servers and daemons to start, on a machine that does other things too. */
const hookTimeout = 60_000

/** They only compute, or keep to files and servers of their own: one process has many of them. */
const plain = [
  'test/{oci,builder,cli}/**/*.test.ts',
  'test/{layerfs/tar,registry/client,registry/server/access,registry/server/limits}/**/*.test.ts',
  'test/registry/server/upstream/{egress,eviction,failures,places,pull-through,shared-bytes}.test.ts',
  'test/registry/server/{blobs,byte-range,client-budget,dispatch,http,lists,manifests}.test.ts',
  'test/registry/server/{request-path,rot,send-chunks,tags,trusted-proxies,uploads}.test.ts',
  'test/registry/storage/*.test.ts',
]

/**
 * plain, unit: no rights needed. sandbox: the kernel's namespaces and mounts. e2e: the built programs as a
 * user runs them. alone: those beside which nothing else may run. What a machine lacks skips by name (test/support/requires.ts).
 */
export default defineConfig({
  test: {
    reporters: ['default', new ClosingLine()],
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'plain',
          retry,
          setupFiles,
          include: plain,
          isolate: false,
          testTimeout: 20_000,
          hookTimeout,
          maxWorkers: Math.max(maxWorkers, availableParallelism() - 1),
        },
      },
      {
        test: {
          name: 'unit',
          retry,
          setupFiles,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/sandbox/**', ...plain],
          testTimeout: 20_000,
          hookTimeout,
          maxWorkers: Math.max(maxWorkers, availableParallelism() - 1),
        },
      },
      {
        test: {
          name: 'sandbox',
          retry,
          setupFiles,
          include: ['test/sandbox/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout,
          maxWorkers,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          retry,
          setupFiles: leavesNothing,
          include: ['test/e2e/**/*.test.ts'],
          exclude: alone,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'alone',
          retry,
          setupFiles: leavesNothing,
          include: alone,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
