/** `hooks` of a bundle: programs that run at points of a container's life. */
import {
  asArray,
  asSize,
  field,
  type JsonNode,
  member,
  mismatch,
  optional,
} from '../../oci/json.ts'
import { asAbsolutePath, asText, listOf } from './json-values.ts'

export const hookStages = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const

export type HookStage = (typeof hookStages)[number]

export interface Hook {
  readonly path: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  /** Seconds; absent: as long as it takes. */
  readonly timeout?: number
}

export type Hooks = Readonly<Record<HookStage, readonly Hook[]>>

/** Throws `invalid` with the path of the field. */
export function hooksFrom(node: JsonNode): Hooks {
  const stage = (name: HookStage) =>
    node.value === undefined || node.value === null
      ? []
      : listOf(member(node, name), asArray, hookFrom)
  return {
    prestart: stage('prestart'),
    createRuntime: stage('createRuntime'),
    createContainer: stage('createContainer'),
    startContainer: stage('startContainer'),
    poststart: stage('poststart'),
    poststop: stage('poststop'),
  }
}

function secondsFrom(node: JsonNode): number {
  const seconds = asSize(node)
  if (seconds === 0) throw mismatch(node, 'a number of seconds > 0')
  return seconds
}

function hookFrom(node: JsonNode): Hook {
  const path = asAbsolutePath(member(node, 'path'))
  const args = listOf(member(node, 'args'), asArray, asText)
  return {
    path,
    args: args.length === 0 ? [path] : args,
    env: listOf(member(node, 'env'), asArray, asText),
    ...field('timeout', optional(member(node, 'timeout'), secondsFrom)),
  }
}
