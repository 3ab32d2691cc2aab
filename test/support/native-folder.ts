/** Runs before each test file: `TSBUILD_NATIVE` names other native programs (scripts/sanitize.mjs). */
import { useNativeFolder } from '../../src/layerfs/native/syscalls.ts'

const folder = process.env['TSBUILD_NATIVE']
if (folder !== undefined) useNativeFolder(folder)
