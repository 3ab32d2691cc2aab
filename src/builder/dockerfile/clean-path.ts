/**
 * Paths with slashes, cleaned as text: no `.`, no `..` that something precedes, no double slash.
 */

/** The shortest path that means the same; no trailing slash; `.` for nothing. */
export function cleanPath(path: string): string {
  const isAbsolute = path.startsWith('/')
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    const isUp = part === '..'
    if (isUp && parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else if (!isUp || !isAbsolute) parts.push(part)
  }
  const joined = parts.join('/')
  if (isAbsolute) return `/${joined}`
  return joined === '' ? '.' : joined
}

/** `path` seen from `directory` (absolute), cleaned; `..` stops at the root. */
export function resolvePath(directory: string, path: string): string {
  return cleanPath(path.startsWith('/') ? path : `/${directory}/${path}`)
}

/** The last component; empty for the root. */
export function baseName(path: string): string {
  const clean = cleanPath(path)
  return clean.slice(clean.lastIndexOf('/') + 1)
}
