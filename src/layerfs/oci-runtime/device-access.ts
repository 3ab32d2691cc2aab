/** `linux.resources.devices`: a list of allowing and denying rules becomes one of what is allowed. Pure. */

import { OciError } from '../../oci/errors.ts'
import { asArray, asBoolean, type JsonNode, member, mismatch, optional } from '../../oci/json.ts'
import { type DeviceRule, defaultDeviceRules } from '../sandbox/device-rules.ts'
import { asInteger, asText } from './json-values.ts'
import type { DeviceNode } from './linux-config.ts'

interface Rule {
  readonly allow: boolean
  /** Absent: both. */
  readonly type?: DeviceRule['type']
  readonly major?: number
  readonly minor?: number
  readonly access: string
}

/**
 * What the rules leave allowed, from nothing at the start, with the devices that every container has
 * and those of `linux.devices`. Throws `invalid` with the path of the field, and `unsupported` for a
 * denial that takes a part out of what is allowed.
 */
export function allowedDevices(
  resources: JsonNode,
  devices: readonly DeviceNode[],
): 'all' | readonly DeviceRule[] {
  const node: JsonNode =
    resources.value === undefined || resources.value === null
      ? { ...resources, value: undefined }
      : member(resources, 'devices')
  let allowed: 'all' | readonly DeviceRule[] = []
  for (const entry of optional(node, asArray) ?? []) {
    allowed = applyRule(allowed, ruleFrom(entry), entry)
  }
  if (allowed === 'all') return 'all'
  return [...defaultDeviceRules, ...allowed, ...devices.flatMap(ruleOf)]
}

const types = { a: undefined, b: 'block', c: 'character', u: 'character' } as const

function ruleFrom(node: JsonNode): Rule {
  const letter = optional(member(node, 'type'), asText) || 'a'
  if (!Object.hasOwn(types, letter)) throw mismatch(member(node, 'type'), 'one of a, b, c')
  const type = types[letter as keyof typeof types]
  const access = optional(member(node, 'access'), asText) || 'rwm'
  if (!/^[rwm]{1,3}$/.test(access)) throw mismatch(member(node, 'access'), 'some of r, w, m')
  const number = (key: 'major' | 'minor') => {
    const value = optional(member(node, key), asInteger)
    return value === undefined || value === -1 ? {} : { [key]: value }
  }
  return {
    allow: asBoolean(member(node, 'allow')),
    ...(type === undefined ? {} : { type }),
    ...number('major'),
    ...number('minor'),
    access,
  }
}

function applyRule(
  allowed: 'all' | readonly DeviceRule[],
  rule: Rule,
  node: JsonNode,
): 'all' | readonly DeviceRule[] {
  const { allow, type, major, minor, access } = rule
  const isEverything = type === undefined && major === undefined && minor === undefined
  if (isEverything && [...'rwm'].every(letter => access.includes(letter))) return allow ? 'all' : []
  if (allow) return allowed === 'all' ? allowed : [...allowed, ...rulesFor(rule)]
  const denied = rulesFor(rule)
  const isIn = (one: DeviceRule) =>
    denied.some(
      other => other.type === one.type && other.major === one.major && other.minor === one.minor,
    )
  if (allowed === 'all' || (access.length < 3 && allowed.some(isIn))) {
    throw new OciError(
      'unsupported',
      `Cannot run the bundle: ${node.path}: denying some devices after allowing more is not supported`,
    )
  }
  return allowed.filter(one => !isIn(one))
}

function rulesFor({ type, major, minor, access }: Rule): DeviceRule[] {
  const both: readonly DeviceRule['type'][] = type === undefined ? ['block', 'character'] : [type]
  return both.map(one => ({
    type: one,
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    access,
  }))
}

function ruleOf({ type, major, minor }: DeviceNode): DeviceRule[] {
  if (type === 'p') return []
  return [{ type: type === 'b' ? 'block' : 'character', major, minor, access: 'rwm' }]
}
