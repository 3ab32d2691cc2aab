import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { ClosingLine } from './scripts/closing-line.mjs'

/** Real daemons, a shared kernel and a busy machine: CI asks a second time before it calls it broken. */
const retry = process.env['CI'] === undefined ? 0 : 1

const nativeFolder = ['test/support/native-folder.ts']

/** They judge what is left on the whole machine, cgroups and bridge ports, or how long it takes. */
const alone = ['test/e2e/kill-*.test.ts', 'test/e2e/quickstart.test.ts']

/**
 * unit: no rights needed. sandbox: the kernel's namespaces and mounts. e2e: the built programs as a
 * user runs them; both two files at a time, for such a test mostly waits. alone: those beside which
 * nothing else may run. What a machine lacks skips by name (test/support/requires.ts).
 */
export default defineConfig({
  test: {
    reporters: ['default', new ClosingLine()],
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles: nativeFolder,
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/sandbox/**'],
          testTimeout: 20_000,
          // By itself it leaves one core to its own process, which on two is half of them.
          maxWorkers: Math.max(2, availableParallelism() - 1),
        },
      },
      {
        test: {
          name: 'sandbox',
          retry,
          setupFiles: nativeFolder,
          include: ['test/sandbox/**/*.test.ts'],
          testTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          retry,
          include: ['test/e2e/**/*.test.ts'],
          exclude: alone,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'alone',
          retry,
          include: alone,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
