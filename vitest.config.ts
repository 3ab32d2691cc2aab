import { defineConfig } from 'vitest/config'
import { ClosingLine } from './scripts/closing-line.mjs'

/** Real daemons, a shared kernel and a busy machine: CI asks a second time before it calls it broken. */
const retry = process.env['CI'] === undefined ? 0 : 1

/**
 * unit: no rights needed. sandbox: the kernel's namespaces and mounts. e2e: the built programs as a
 * user runs them. What a machine lacks skips by name (test/support/requires.ts).
 */
export default defineConfig({
  test: {
    reporters: ['default', new ClosingLine()],
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles: ['test/support/native-folder.ts'],
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', 'test/sandbox/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'sandbox',
          retry,
          setupFiles: ['test/support/native-folder.ts'],
          include: ['test/sandbox/**/*.test.ts'],
          testTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          retry,
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
