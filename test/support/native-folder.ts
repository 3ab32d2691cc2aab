/** Runs before each test file: `TSBUILD_NATIVE` names other native programs (scripts/sanitize.mjs). */
import { useNativeFolder } from '../../src/layerfs/native/native-programs.ts'

const { TSBUILD_NATIVE: folder, LD_PRELOAD, ASAN_OPTIONS, UBSAN_OPTIONS } = process.env
if (folder !== undefined) useNativeFolder(folder)

/** What our programs need as well, when they are started by a test with an environment of its own. */
export const nativeEnvironment: Record<string, string> =
  folder === undefined
    ? {}
    : Object.fromEntries(
        Object.entries({ TSBUILD_NATIVE: folder, LD_PRELOAD, ASAN_OPTIONS, UBSAN_OPTIONS }).flatMap(
          ([name, value]) => (value === undefined ? [] : [[name, value]]),
        ),
      )
