/**
 * `linux.netDevices` of a bundle: interfaces of this machine that go into the container's network.
 * native/bridge/devices.c moves them.
 */
import { asObject, type JsonNode, member, mismatch, optional } from '../../oci/json.ts'
import { asText } from './json-values.ts'

export interface NetDevice {
  readonly device: string
  /** In the container; `%d` in it becomes a number that is free there. */
  readonly name: string
}

/** Throws `invalid` with the path of the field. */
export function netDevicesFrom(
  node: JsonNode,
  namespaces: ReadonlyMap<string, unknown>,
): NetDevice[] {
  const devices = Object.keys(optional(node, asObject) ?? {}).map(device => {
    const place = member(node, device)
    assertName(place, device, plainName)
    const named = member(optionalObject(place), 'name')
    const name = optional(named, asText) ?? ''
    if (name === '') return { device, name: device }
    assertName(named, name, templateName)
    return { device, name }
  })
  const names = devices.map(({ name }) => name).filter(name => !name.includes('%'))
  if (new Set(names).size !== names.length) {
    throw mismatch(node, 'a name of its own for each device')
  }
  if (devices.length === 0 || namespaces.has('network')) return devices
  throw mismatch(node, 'no device without a network namespace ({"type": "network"})')
}

/** `null` is what Go writes for nothing. */
function optionalObject(node: JsonNode): JsonNode {
  optional(node, asObject)
  return node.value === null ? { ...node, value: {} } : node
}

/** The kernel's rule: up to 15 bytes, no `/`, no `:`, no white space; `.` and `..` are none. */
const plainName = /^(?!\.{1,2}$)[^/:\s%]+$/
const templateName = /^(?!\.{1,2}$)[^/:\s%]+(?:%d[^/:\s%]*)?$/

function assertName(node: JsonNode, name: string, form: RegExp): void {
  if (form.test(name) && Buffer.byteLength(name) <= 15) return
  throw mismatch(node, 'the name of an interface: up to 15 bytes without "/", ":" and white space')
}
