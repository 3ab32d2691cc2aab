/** Other runtimes on this machine. */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { OciError, printable } from '../../oci/errors.ts'
import { cgroupHierarchies } from './cgroup-hierarchies.ts'

/**
 * The path of a runtime: `wanted`, a name or a path, or crun or runc in `path`, of which crun does not
 * work beside both versions of cgroups. Throws `unsupported`.
 */
export function findRuntime(path: string, wanted: string | undefined): string {
  const { v1, v2 } = cgroupHierarchies()
  const isHybrid = v2 !== undefined && v1['memory'] !== undefined
  const names = wanted === undefined ? (isHybrid ? ['runc', 'crun'] : ['crun', 'runc']) : [wanted]
  for (const name of names) {
    const places = name.includes('/') ? [name] : path.split(delimiter).map(each => join(each, name))
    const found = places.find(isExecutable)
    if (found !== undefined) return found
  }
  throw new OciError(
    'unsupported',
    `Cannot use --isolation oci: there is no ${names.map(name => `"${printable(name)}"`).join(' or ')}`,
    { hint: 'Install crun or runc, or set TSBUILD_OCI_RUNTIME to the path of a runtime' },
  )
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
