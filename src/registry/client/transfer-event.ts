/** What a pull or push tells whoever shows its progress. Plain values; nothing depends on them. */
import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName, Tag } from '../../oci/reference.ts'

export type Direction = 'pull' | 'push'

export type TransferEvent =
  | { readonly kind: 'resolving'; readonly reference: string }
  | { readonly kind: 'blob-exists'; readonly digest: Digest; readonly total: number }
  | {
      readonly kind: 'blob-mounted'
      readonly digest: Digest
      readonly total: number
      readonly from: RepositoryName
    }
  | {
      readonly kind: 'blob-progress'
      readonly digest: Digest
      /** Bytes so far, of `total`; falls back to 0 when an upload starts again. */
      readonly bytes: number
      readonly total: number
      readonly direction: Direction
    }
  | {
      readonly kind: 'blob-done'
      readonly digest: Digest
      readonly total: number
      readonly direction: Direction
    }
  | {
      readonly kind: 'manifest'
      readonly digest: Digest
      readonly direction: Direction
      /** The tag it was pushed under, where it was. */
      readonly tag?: Tag
    }

export type OnTransfer = (event: TransferEvent) => void
