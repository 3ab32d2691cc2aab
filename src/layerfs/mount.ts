/**
 * RootMount: a filesystem state as a plain value. Snapshots produce it; the sandbox and
 * `layer/rootfs.ts` consume it; neither imports the other.
 *
 * Directories of an overlay are absolute paths. A layer directory is in overlayfs's own format:
 * a whiteout is a character device 0:0, an opaque directory carries `trusted.overlay.opaque`.
 */

export type RootMount =
  | {
      readonly kind: 'overlay'
      /** Read-only layer directories, **top first**, as overlayfs wants them; may be empty. */
      readonly lower: readonly string[]
      /** The writable layer; without it the mount is read-only. */
      readonly upper?: string
      /** overlayfs's scratch directory, on the file system of `upper`. Given with `upper`. */
      readonly work?: string
    }
  | { readonly kind: 'directory'; readonly path: string; readonly readOnly: boolean }
