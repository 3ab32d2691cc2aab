import type { StackedLayer } from '../../layerfs/image/unpack.ts'

/** What a cache mount held, as a layer, and what its directory looks like. */
export interface SavedMount extends StackedLayer {
  readonly id: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
}
