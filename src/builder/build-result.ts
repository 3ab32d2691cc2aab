/** What a build comes to, before anything is made of it. */
import type { DiffId } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/image-config.ts'
import type { Platform } from '../oci/platform.ts'
import type { CollectedCache } from './cache/collected-cache.ts'
import type { Filesystems } from './filesystems.ts'

export interface BuildResult {
  readonly config: ImageConfig
  /** The whole stack, lowest first. */
  readonly layers: readonly DiffId[]
  /** What was asked for; a base for another one may have made the config say otherwise. */
  readonly platform: Platform
  /** SOURCE_DATE_EPOCH: no time that an export writes is later. */
  readonly latest?: Date
  /** For exports, which may need what is not in the store. */
  readonly filesystems: Filesystems
  /** For `--cache-to`; of all platforms together. */
  readonly collected: CollectedCache
}
