/** Whom `--chown` names, looked up in the files of the image that a step works on (C16). */
import type { Root } from '../../layerfs/layer/rootfs.ts'
import { userInRoot } from '../../layerfs/runtime/user-in-root.ts'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

/**
 * `u[:g]`. A lone number is user and group; a lone name brings its own group. Throws `not-found`
 * for a name that the image lacks.
 */
export function ownerIn(root: Root, chown: string): Owner {
  const { uid, gid } = userInRoot(root, /^\d+$/.test(chown) ? `${chown}:${chown}` : chown)
  return { uid, gid }
}
