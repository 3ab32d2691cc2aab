/**
 * Whether a file is the one that was read before: for files that are replaced, never written again.
 *
 * The kernel moves a file's time of change with everything that is done to it. Within one tick of
 * its clock two files may share inode and time, so a version that young is not to be relied on.
 */
import type { BigIntStats } from 'node:fs'
import { syscalls } from '../native/syscalls.ts'

/** Inode and time of change, as the native code compares them. */
export type FileVersion = Uint8Array

export function versionOf({ ino, ctimeNs }: BigIntStats): FileVersion {
  return new Uint8Array(BigUint64Array.of(ino, ctimeNs).buffer)
}

/** Synchronous: the kernel has what was looked at lately in memory, and a thread costs more. */
export function isVersion(path: string, version: FileVersion): boolean {
  return syscalls().hasVersion(path, version)
}
