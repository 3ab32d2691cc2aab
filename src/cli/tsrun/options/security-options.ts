/** What a container may do: capabilities, privileges, its system call filter. */
import { readFile, stat } from 'node:fs/promises'
import type { SecurityOptions } from '../../../layerfs/runtime/container-spec.ts'
import { OciError, printable } from '../../../oci/errors.ts'
import { usageError } from '../../cli-error.ts'
import type { RunFlags } from './run-flags.ts'

/** Throws a usage error that quotes the option; reads the seccomp profile and throws what is wrong. */
export async function securityOptions(flags: RunFlags): Promise<SecurityOptions> {
  let seccomp: SecurityOptions['seccomp'] = 'default'
  let noNewPrivileges = false
  for (const option of flags['security-opt']) {
    // Docker once wrote them with a colon.
    const [name = '', value = ''] = option.split(/[=:](.*)/s)
    if (name === 'seccomp' && value !== '') seccomp = await systemCallFilter(value)
    else if (name === 'no-new-privileges' && /^(true|false|)$/.test(value)) {
      noNewPrivileges = value !== 'false'
    } else {
      throw usageError(
        `Security option "${printable(option)}" is not supported yet`,
        'There are seccomp=FILE, seccomp=unconfined and no-new-privileges',
      )
    }
  }
  return {
    capAdd: flags['cap-add'],
    capDrop: flags['cap-drop'],
    privileged: flags.privileged,
    seccomp,
    noNewPrivileges,
  }
}

async function systemCallFilter(value: string): Promise<SecurityOptions['seccomp']> {
  if (value === 'unconfined') return value
  if (value === 'builtin') return 'default'
  // Only now: few runs bring a profile.
  const { maxProfileSize, parseSeccompProfile } = await import(
    '../../../layerfs/sandbox/seccomp/profile.ts'
  )
  const { size } = await stat(value)
  if (size > maxProfileSize) {
    throw new OciError(
      'too-large',
      `Cannot use seccomp profile "${printable(value)}": more than ${maxProfileSize} bytes`,
    )
  }
  return parseSeccompProfile(await readFile(value))
}
