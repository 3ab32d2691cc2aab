/**
 * Paths as bytes, and as text that can be a map's key: Latin-1 maps each byte to one character and
 * back, so nothing is lost and `slice`, `split` and comparison work on bytes.
 */
import { OciError, printable } from '../../oci/errors.ts'
import type { Name } from '../native/syscalls.ts'

declare const brand: unique symbol

/**
 * A path proven to stay inside a root: components joined by "/", none empty, "." or "..", no
 * leading "/"; Latin-1. The root itself is "".
 */
export type SafePath = string & { readonly [brand]: 'SafePath' }

export const rootPath = '' as SafePath

/** Cleans as a tar reader does: lexically, clamped at the root (row A32). */
export function safePath(path: Name): SafePath {
  const text = latin1Of(path)
  if (isClean(text)) return text as SafePath
  const clean: string[] = []
  for (const component of text.split('/')) {
    if (component === '..') clean.pop()
    else if (component !== '' && component !== '.') clean.push(component)
  }
  return clean.join('/') as SafePath
}

const dirty = /^\.{0,2}\/|\/\/|\/\.{0,2}\/|\/\.{0,2}$|^\.{0,2}$/

function isClean(text: string): boolean {
  return !dirty.test(text)
}

export function latin1Of(path: Name): string {
  if (Buffer.isBuffer(path)) return path.toString('latin1')
  return typeof path === 'string'
    ? Buffer.from(path, 'utf8').toString('latin1')
    : Buffer.from(path.buffer, path.byteOffset, path.byteLength).toString('latin1')
}

/** For a system call. */
export function bytesOf(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}

export function parentOf(path: SafePath): SafePath {
  const slash = path.lastIndexOf('/')
  return (slash < 0 ? '' : path.slice(0, slash)) as SafePath
}

export function nameOf(path: SafePath): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function joinPath(parent: SafePath, name: string): SafePath {
  return (parent === '' ? name : `${parent}/${name}`) as SafePath
}

/** For a message: UTF-8 where it is, control characters escaped. */
export function shown(path: string): string {
  return printable(`/${bytesOf(path).toString('utf8')}`)
}

/** Throws `too-large` for a path of more than `depth` components. */
export function assertDepth(path: SafePath, depth: number): void {
  if (path.length < depth * 2) return
  if (path.split('/').length > depth) {
    throw new OciError('too-large', `Cannot use path "${shown(path)}": more than ${depth} levels`)
  }
}
