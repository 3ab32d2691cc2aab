import type { Command } from '../command.ts'
import { runRuntime } from '../oci/runtime-program.ts'

/** Flags and help are those of the runtime: `tsrun-oci` is the same. */
export const ociCommand: Command = {
  name: 'oci',
  usage: '[FLAGS] COMMAND [FLAGS] ID',
  summary: 'Run bundles as an OCI runtime does; "tsrun-oci" is the same as a program of its own',
  examples: ['oci create --bundle DIR NAME', 'oci start NAME'],
  flags: {},
  invoke: async args => await runRuntime(args, 'tsrun oci'),
}
