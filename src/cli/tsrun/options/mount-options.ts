/** `--mount` as docker spells it: `type=bind,source=/srv,target=/srv,readonly`. */
import type { VolumeWish } from '../../../layerfs/runtime/volume-use.ts'
import { assertVolumeName } from '../../../layerfs/runtime/volumes.ts'
import type { SandboxMount } from '../../../layerfs/sandbox/spec.ts'
import { printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import { parseAs, parseSize } from '../../flags/flag-values.ts'

/** Other spellings of the same keys. */
const aliases: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
}

/** What each type takes beside `type` and `target`. */
const keys: Readonly<Record<string, readonly string[]>> = {
  bind: ['source', 'readonly', 'bind-propagation', 'bind-recursive', 'bind-nonrecursive'],
  tmpfs: ['tmpfs-size', 'tmpfs-mode'],
  volume: ['source', 'readonly', 'volume-nocopy'],
}

/** Throws a usage error that quotes the text and says what is wrong with it. */
export function parseMount(text: string): SandboxMount | VolumeWish {
  const refuse = (why: string) => usageError(`Cannot use mount "${printable(text)}": ${why}`)
  const values = new Map<string, string>()
  for (const word of text.split(',')) {
    const [name = '', value = 'true'] = word.split(/=(.*)/s)
    values.set(aliases[name] ?? name, value)
  }
  const type = values.get('type') ?? 'volume'
  const known = keys[type]
  if (known === undefined) throw refuse(`unknown type "${printable(type)}"`)
  const unknown = [...values.keys()].find(
    name => name !== 'type' && name !== 'target' && !known.includes(name),
  )
  if (unknown !== undefined) throw refuse(`unknown option "${printable(unknown)}" of ${type}`)
  const target = values.get('target') ?? ''
  if (!target.startsWith('/') || target === '/') throw refuse('the target must be an absolute path')
  return makers[type as keyof typeof makers](values, target, refuse)
}

const makers = { bind: bindOf, tmpfs: tmpfsOf, volume: volumeOf } as const

function volumeOf(values: ReadonlyMap<string, string>, target: string, refuse: Refuse): VolumeWish {
  const name = values.get('source')
  if (name !== undefined) assertVolumeName(name)
  return {
    ...(name === undefined ? {} : { name }),
    target,
    readOnly: truth(values, 'readonly', refuse),
    copies: !truth(values, 'volume-nocopy', refuse),
  }
}

type Refuse = (why: string) => Error

function bindOf(values: ReadonlyMap<string, string>, target: string, refuse: Refuse): SandboxMount {
  const source = values.get('source') ?? ''
  if (!source.startsWith('/')) throw refuse('the source must be an absolute path')
  const propagation = values.get('bind-propagation') ?? 'rprivate'
  if (!/^r?private$/.test(propagation)) throw refuse('the propagation is always private')
  const recursive = values.get('bind-recursive') ?? 'enabled'
  if (!/^(enabled|disabled)$/.test(recursive)) throw refuse('bind-recursive is enabled or disabled')
  return {
    kind: 'bind',
    source,
    target,
    readOnly: truth(values, 'readonly', refuse),
    recursive: recursive === 'enabled' && !truth(values, 'bind-nonrecursive', refuse),
  }
}

function tmpfsOf(
  values: ReadonlyMap<string, string>,
  target: string,
  refuse: Refuse,
): SandboxMount {
  const [size, mode = '1777'] = [values.get('tmpfs-size'), values.get('tmpfs-mode')]
  if (!/^[0-7]{1,4}$/.test(mode)) throw refuse('tmpfs-mode is an octal number')
  return {
    kind: 'tmpfs',
    target,
    mode: Number.parseInt(mode, 8),
    ...(size === undefined
      ? {}
      : { size: parseAs('mount option tmpfs-size', () => parseSize(size)) }),
  }
}

function truth(values: ReadonlyMap<string, string>, name: string, refuse: Refuse): boolean {
  const value = values.get(name) ?? 'false'
  if (/^(true|1)$/.test(value)) return true
  if (/^(false|0)$/.test(value)) return false
  throw refuse(`${name} is true or false`)
}
