/**
 * Where a setting is made: the directory of a cgroup in the hierarchy that has its controller.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hasCode, OciError } from '../../oci/errors.ts'
import type { Hierarchies } from './cgroup-hierarchies.ts'
import type { Setting, Value } from './cgroup-settings.ts'

export interface CgroupPlace {
  readonly setting: Setting
  readonly directory: string
  /** Mount point of the hierarchy, above which nothing is ours. */
  readonly root: string
  readonly values: readonly Value[]
  /** Files of version 1 that a new directory takes from the one above. */
  readonly inherited: readonly string[]
  /** Version 2 hands controllers down level by level. */
  readonly enable?: string
}

/** `path` is that of the cgroup in its hierarchy. Throws `unsupported`, naming the limits. */
export function placeOf(setting: Setting, path: string, hierarchies: Hierarchies): CgroupPlace {
  const { controller, v1, v2, inherited = [], unified = controller } = setting
  const classic = hierarchies.v1[controller]
  if (classic !== undefined) {
    return { setting, directory: join(classic, path), root: classic, values: v1, inherited }
  }
  const root = hierarchies.v2
  if (root !== undefined && words(join(root, 'cgroup.controllers')).includes(unified)) {
    return {
      setting,
      directory: join(root, path),
      root,
      values: v2,
      inherited: [],
      enable: unified,
    }
  }
  const limits = [...new Set([...v1, ...v2].map(({ limit }) => limit))].join(', ')
  throw new OciError('unsupported', `Cannot limit ${limits}: no cgroup controller "${unified}"`, {
    hint: `Mount a cgroup hierarchy that has "${unified}", or run without this limit`,
  })
}

function words(file: string): string[] {
  return readFileSync(file, 'utf8').trim().split(/\s+/)
}

/** Makes the directory and writes the values. Throws `unsupported`, naming the limit. */
export function applySetting(place: CgroupPlace): void {
  inWords(place.setting.controller, () => makeDirectory(place))
  for (const { file, value, limit, need } of place.values) {
    const path = join(place.directory, file)
    try {
      inWords(limit, () => writeFileSync(path, String(value)))
    } catch (error) {
      const { cause } = error as Error
      // The file system of cgroups answers EACCES also for a file that it has not.
      const isMissing = !existsSync(path) && (hasCode(cause, 'ENOENT') || hasCode(cause, 'EACCES'))
      if (need === 'optional' && (isMissing || hasCode(cause, 'EACCES'))) continue
      if (!isMissing) throw error
      throw new OciError('unsupported', `Cannot limit ${limit}: this kernel has no "${file}"`, {
        cause: error,
        hint: 'Run without this limit',
      })
    }
  }
}

function makeDirectory({ root, directory, enable, inherited }: CgroupPlace): void {
  mkdirSync(directory, { recursive: true })
  const levels = levelsBetween(root, directory)
  if (enable !== undefined) {
    for (const level of [root, ...levels.slice(0, -1)]) {
      if (words(join(level, 'cgroup.subtree_control')).includes(enable)) continue
      writeFileSync(join(level, 'cgroup.subtree_control'), `+${enable}`)
    }
  }
  for (const level of levels) {
    for (const file of inherited) inherit(level, file)
  }
}

/** From the one below `root` down to `directory`. */
function levelsBetween(root: string, directory: string): string[] {
  const levels: string[] = []
  for (let level = directory; level.length > root.length; level = dirname(level)) {
    levels.unshift(level)
  }
  return levels
}

function inherit(level: string, file: string): void {
  if (readFileSync(join(level, file), 'utf8').trim() !== '') return
  writeFileSync(join(level, file), readFileSync(join(dirname(level), file), 'utf8').trim())
}

function inWords(limit: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new OciError('unsupported', `Cannot limit ${limit}: ${why}`, {
      cause,
      ...hintFor(cause),
    })
  }
}

function hintFor(cause: unknown): { readonly hint?: string } {
  if ((['EACCES', 'EPERM', 'EROFS'] as const).some(code => hasCode(cause, code))) {
    return {
      hint: 'No cgroup here is yours: run as root, or in one that is delegated to you (systemd-run --user --scope -p Delegate=yes), or without this limit',
    }
  }
  if (hasCode(cause, 'EBUSY')) {
    return {
      hint: 'Processes are in the cgroup that was delegated itself: move them into one below it',
    }
  }
  return {}
}
