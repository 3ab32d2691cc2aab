/** `update`: other limits for a container that is there. */
import { OciError } from '../../oci/errors.ts'
import { parseJson } from '../../oci/json.ts'
import { cgroupHierarchies } from '../sandbox/cgroup-hierarchies.ts'
import { applySetting, type CgroupPlace, placeOf } from '../sandbox/cgroup-place.ts'
import { expectStatus } from './lifecycle.ts'
import { resourceSettings } from './resource-settings.ts'
import { readState } from './state.ts'

/**
 * Throws `invalid` with the path of the field, `conflict` for a container that has ended, and
 * `unsupported`, naming the limit, when one cannot be set: those before it are then.
 */
export function updateContainer(root: string, id: string, resources: Uint8Array): void {
  const state = readState(root, id)
  expectStatus(root, state, { action: 'update', wanted: ['created', 'running', 'paused'] })
  const { unified, classic } = state.cgroup
  for (const setting of resourceSettings(parseJson('resources', resources))) {
    const place = placeOf(setting, '/', cgroupHierarchies())
    const isClassic = place.enable === undefined
    const directory = isClassic ? classic[setting.controller] : unified
    if (directory === undefined) {
      throw new OciError(
        'unsupported',
        `Cannot update container "${id}": it was created without limits of "${setting.controller}"`,
      )
    }
    applyEitherWay({ ...place, directory })
  }
}

/** Of two limits that bound each other, which goes first hangs on whether they grow. */
function applyEitherWay(place: CgroupPlace): void {
  try {
    applySetting(place)
  } catch {
    applySetting({ ...place, values: [...place.values].reverse() })
  }
}
