/** A cache in an image: its config says which steps gave its layers. */
import type { StackedLayer } from '../../layerfs/image/unpack.ts'
import type { ImageConfig } from '../../oci/image-config.ts'
import type { StepResult } from '../solve/graph.ts'
import { type CachedResult, encodeInlineRecords } from './cache-config.ts'
import type { CollectedCache } from './collected-cache.ts'

/** BuildKit's name; what it holds is base64. */
export const inlineMember = 'moby.buildkit.cache.v0'

/** The member for an image with these layers. */
export function inlineRecords(
  { results }: CollectedCache,
  layers: readonly StackedLayer[],
): Readonly<Record<string, string>> {
  const diffIds = layers.map(({ diffId }) => diffId)
  const own = [...results].flatMap(([key, { layers: stack, created }]): CachedResult[] => {
    if (!isPrefix(stack, diffIds)) return []
    return [
      { key, layers: layers.slice(0, stack.length), ...(created === undefined ? {} : { created }) },
    ]
  })
  return own.length === 0 ? {} : { [inlineMember]: encodeInlineRecords(own) }
}

/** Whether the filesystem is one that the other was built on, or itself. */
export function isPrefix(stack: StepResult['layers'], whole: StepResult['layers']): boolean {
  return stack.length > 0 && stack.every((layer, index) => whole[index] === layer)
}

/** What a base image carries is about the base. */
export function withoutInlineRecords({ extra, ...config }: ImageConfig): ImageConfig {
  if (extra === undefined) return config
  const { [inlineMember]: _, ...rest } = extra
  return Object.keys(rest).length === 0 ? config : { ...config, extra: rest }
}
