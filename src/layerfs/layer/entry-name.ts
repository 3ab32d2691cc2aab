/**
 * What an entry's name says: content, or an instruction to hide something of the layers below.
 *
 * Spec: image-spec layer.md, Whiteouts.
 */
import { OciError } from '../../oci/errors.ts'
import { aufsPrefix, opaqueMarker, whiteoutPrefix } from './overlay-format.ts'
import { joinPath, nameOf, parentOf, type SafePath, shown } from './path-bytes.ts'

export type Meaning =
  | { readonly kind: 'content' }
  /** Lower layers' `path` is hidden. */
  | { readonly kind: 'whiteout'; readonly path: SafePath }
  /** All that lower layers have in the directory `path` is hidden. */
  | { readonly kind: 'opaque'; readonly path: SafePath }
  /** Left over from aufs: no content. */
  | { readonly kind: 'leftover' }

const content: Meaning = { kind: 'content' }

/** aufs kept files with several names here; entries elsewhere may link to them (row A31). */
export const plinkDirectory = '.wh..wh.plnk' as SafePath

/** Throws `invalid` for a whiteout that names nothing, "." or "..", or that has something below it. */
export function meaningOf(path: SafePath): Meaning {
  if (!path.includes(whiteoutPrefix)) return content
  if (path.startsWith(`${plinkDirectory}/`)) return content
  const parent = parentOf(path)
  const above = parent.split('/').find(component => component.startsWith(whiteoutPrefix))
  if (above !== undefined) {
    if (above.startsWith(aufsPrefix)) return { kind: 'leftover' }
    throw new OciError('invalid', `Cannot apply "${shown(path)}": it lies below a whiteout`)
  }
  const name = nameOf(path)
  if (!name.startsWith(whiteoutPrefix)) return content
  if (name === opaqueMarker) return { kind: 'opaque', path: parent }
  if (name.startsWith(aufsPrefix)) return { kind: 'leftover' }
  const hidden = name.slice(whiteoutPrefix.length)
  // "." and ".." would have the directory itself, or the one above, removed.
  if (hidden === '' || hidden === '.' || hidden === '..') {
    throw new OciError('invalid', `Cannot apply whiteout "${shown(path)}": it names no file`)
  }
  return { kind: 'whiteout', path: joinPath(parent, hidden) }
}
