/**
 * Graph: the steps of a build and what each reads, pruned to the target before it comes here.
 *
 * A node's inputs are the nodes whose filesystems it reads; the first is the one it is built on.
 * Nodes are in an order in which every input stands before its reader, so the graph has no cycles.
 */
import type { ChainId, Digest } from '../../oci/digest.ts'

export interface Node<Work> {
  readonly id: string
  readonly name: string
  readonly inputs: readonly string[]
  readonly work: Work
}

/** A filesystem: the stack of layers that shows it; `undefined` is the empty one. */
export interface StepResult {
  readonly chain: ChainId | undefined
}

declare const brand: unique symbol

/** The digest that decides reuse of a step. */
export type CacheKey = Digest & { readonly [brand]: 'CacheKey' }

/**
 * What a key is made of, by name: `arg VERSION`, `file src/a.ts`, `input 0`. Kept with the result,
 * so that a later miss can be explained by what differs.
 */
export type KeyParts = Readonly<Record<string, string>>
