/**
 * Where the two native programs are: in `build/native` of a checkout, which compiled them; else in
 * the package of this platform (`tsbuild-linux-x64`), which npm installs beside this one because it
 * is an optional dependency of it. Nothing is compiled or fetched when a package is installed.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { arch, platform } from 'node:process'
import { fileURLToPath } from 'node:url'

/** As scripts/package.mjs names it. */
export const platformPackage = `tsbuild-${platform}-${arch}`

const checkout = fileURLToPath(new URL('../../..', import.meta.url))
let folder: string | undefined

/** Takes the native programs from another folder: one built with sanitizers. Before any is used. */
export function useNativeFolder(path: string): void {
  folder = path
}

/** The full path of a native program; where none is installed, that of where a build would put it. */
export function nativePath(name: 'syscalls.node' | 'sandbox'): string {
  folder ??= builtFolder() ?? installedFolder() ?? join(checkout, 'build/native')
  return join(folder, name)
}

/** What to do when a native program is not there or does not start. */
export function nativeHint(): string {
  return existsSync(join(checkout, 'scripts/build-native.mjs'))
    ? 'run "npm run build" in the checkout; it needs a C compiler (Debian: apt-get install gcc libc6-dev)'
    : `install the package "${platformPackage}" of the same version beside it; where there is none for this platform, use a checkout`
}

function builtFolder(): string | undefined {
  const built = join(checkout, 'build/native')
  return existsSync(built) ? built : undefined
}

function installedFolder(): string | undefined {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${platformPackage}/package.json`))
  } catch {
    // Not installed: npm leaves optional dependencies out where they do not fit, or when told to.
    return undefined
  }
}
