/**
 * Graph: the steps of a build and what each reads, pruned to the target before it comes here.
 *
 * A node's inputs are the nodes whose filesystems it reads; the first is the one it is built on.
 * Nodes are in an order in which every input stands before its reader, so the graph has no cycles.
 */
import { type ChainId, chainId, chainIds, type DiffId, type Digest } from '../../oci/digest.ts'

export interface Node<Work> {
  readonly id: string
  readonly name: string
  readonly identity: StepIdentity
  /** Of a node without a key: what may be different in the next build, as the digest of an image. */
  readonly facts?: KeyParts
  /** Where it stands in the Dockerfile. */
  readonly source?: StepSource
  readonly inputs: readonly string[]
  readonly work: Work
}

/** The same in every build until somebody edits the step: what a miss is explained against. */
export interface StepIdentity {
  /** The stage, and the platform where there are several. */
  readonly place: string
  /** The instruction as written. */
  readonly text: string
}

export interface StepSource {
  /** The stage's name, or its number. */
  readonly stage: string
  /** Of the stage, from 0. */
  readonly index: number
  readonly lines: readonly [first: number, last: number]
}

/** A filesystem, as the stack of layers that shows it. */
export interface StepResult {
  /** Lowest first; empty: the empty filesystem. */
  readonly layers: readonly DiffId[]
  /** When the step ran (RFC 3339), also when its result is reused; absent for a base image. */
  readonly created?: string
}

/** The identity of a filesystem; `undefined` is the empty one. */
export function chainOf({ layers }: StepResult): ChainId | undefined {
  const known = chains.get(layers) ?? chainIds(layers).at(-1)
  if (known !== undefined) chains.set(layers, known)
  return known
}

/** The layers of `parent` with one more, whose chain is one hash from the parent's. */
export function withLayer(parent: StepResult, diffId: DiffId): readonly DiffId[] {
  const layers = [...parent.layers, diffId]
  chains.set(layers, chainId(chainOf(parent), diffId))
  return layers
}

/** A hash for each layer, and every step is asked for its own many times. */
const chains = new WeakMap<readonly DiffId[], ChainId>()

declare const brand: unique symbol

/** The digest that decides reuse of a step. */
export type CacheKey = Digest & { readonly [brand]: 'CacheKey' }

/**
 * What a key is made of, by name: `ARG VERSION`, `files`, `base`. Kept with the result,
 * so that a later miss can be explained by what differs.
 */
export type KeyParts = Readonly<Record<string, string>>
