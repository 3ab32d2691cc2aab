/**
 * config.json of a bundle, checked: https://github.com/opencontainers/runtime-spec, version 1.x.
 *
 * What decides who runs and what is seen is decoded here; fields that we do not have are refused by
 * name, those of other systems (`windows`, `solaris`, `vm`) are none of ours.
 */
import { existsSync } from 'node:fs'
import { OciError } from '../../oci/errors.ts'
import {
  asArray,
  asBoolean,
  asObject,
  asString,
  asStringMap,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
  parseJson,
} from '../../oci/json.ts'
import { type Hooks, hooksFrom } from './hooks-config.ts'
import { asAbsolutePath, asText, listOf, refuse } from './json-values.ts'
import { type IdMapping, type LinuxConfig, linuxFrom, mappingFrom } from './linux-config.ts'
import { type MountOptions, parseMountOptions } from './mount-options.ts'
import { type ProcessConfig, processFrom } from './process-config.ts'

export interface RuntimeConfig {
  readonly ociVersion: string
  readonly root: { readonly path: string; readonly readonly: boolean }
  readonly process: ProcessConfig
  readonly hostname?: string
  readonly domainname?: string
  readonly mounts: readonly ConfigMount[]
  readonly hooks: Hooks
  readonly annotations: Readonly<Record<string, string>>
  readonly linux: LinuxConfig
}

export interface ConfigMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: MountOptions
  readonly idMaps?: IdMaps
}

export interface IdMaps {
  readonly uidMappings: readonly IdMapping[]
  readonly gidMappings: readonly IdMapping[]
}

/** Throws `invalid` with the path of the field, and `unsupported` for what we do not have. */
export function parseRuntimeConfig(bytes: Uint8Array): RuntimeConfig {
  const node = parseJson('bundle', bytes)
  const ociVersion = asString(member(node, 'ociVersion'))
  if (!/^1\.\d+\.\d+/.test(ociVersion)) {
    throw mismatch(member(node, 'ociVersion'), 'version 1.x of the specification')
  }
  const root = member(node, 'root')
  asObject(root)
  asObject(member(node, 'process'))
  asObject(member(node, 'linux'))
  const config: RuntimeConfig = {
    ociVersion,
    root: {
      path: asText(member(root, 'path')),
      readonly: optional(member(root, 'readonly'), asBoolean) ?? false,
    },
    process: processFrom(member(node, 'process')),
    ...field('hostname', nonEmpty(member(node, 'hostname'))),
    ...field('domainname', nonEmpty(member(node, 'domainname'))),
    mounts: listOf(member(node, 'mounts'), asArray, mountFrom),
    hooks: hooksFrom(member(node, 'hooks')),
    annotations: optional(member(node, 'annotations'), asStringMap) ?? {},
    linux: linuxFrom(member(node, 'linux')),
  }
  assertLabels(node)
  assertNames(config)
  return config
}

function nonEmpty(node: JsonNode): string | undefined {
  const text = optional(node, asText)
  return text === '' ? undefined : text
}

function mountFrom(node: JsonNode): ConfigMount {
  const options = listOf(member(node, 'options'), asArray, asText)
  const type = optional(member(node, 'type'), asText) ?? ''
  const parsed = parseMountOptions(options, member(node, 'options').path)
  const isBind = parsed.isBind || type === 'bind' || type === 'rbind'
  const source = optional(member(node, 'source'), asText) ?? ''
  if (isBind && source === '') throw mismatch(member(node, 'source'), 'what to bind')
  if (!isBind && type === '') throw mismatch(member(node, 'type'), 'a type of filesystem')
  // Earlier versions of the specification allowed a relative destination.
  const destination = asText(member(node, 'destination'))
  return {
    destination: asAbsolutePath({
      ...member(node, 'destination'),
      value: destination.startsWith('/') ? destination : `/${destination}`,
    }),
    type: isBind ? 'bind' : type,
    source,
    options: { ...parsed, isBind, isRecursive: parsed.isRecursive || type === 'rbind' },
    ...field('idMaps', idMapsFrom(node)),
  }
}

function idMapsFrom(node: JsonNode): IdMaps | undefined {
  const maps = (key: string) => listOf(member(node, key), asArray, mappingFrom)
  const [uidMappings, gidMappings] = [maps('uidMappings'), maps('gidMappings')]
  if (uidMappings.length === 0 && gidMappings.length === 0) return undefined
  for (const [key, list] of Object.entries({ uidMappings, gidMappings })) {
    if (list.length === 0) throw mismatch(member(node, key), 'mappings, as of the other ids')
  }
  return { uidMappings, gidMappings }
}

/** Labels mean something only where the kernel enforces them; there, none may be left out. */
function assertLabels(node: JsonNode): void {
  const process = member(node, 'process')
  if (existsSync('/sys/fs/selinux/enforce')) {
    refuse(process, 'selinuxLabel', 'Run containers without SELinux labels on this machine')
    refuse(
      member(node, 'linux'),
      'mountLabel',
      'Run containers without SELinux labels on this machine',
    )
  }
  if (existsSync('/sys/kernel/security/apparmor/profiles')) {
    const { value } = member(process, 'apparmorProfile')
    if (value !== 'unconfined') {
      refuse(
        process,
        'apparmorProfile',
        'Run containers with "apparmor=unconfined" on this machine',
      )
    }
  }
}

function assertNames({ hostname, domainname, linux }: RuntimeConfig): void {
  for (const [key, value] of Object.entries({ hostname, domainname })) {
    if (value === undefined || linux.namespaces.has('uts')) continue
    throw new OciError(
      'invalid',
      `Cannot run the bundle: ${key}: it would rename this machine; linux.namespaces lacks {"type": "uts"}`,
    )
  }
}
