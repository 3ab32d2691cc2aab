/** `--isolation`: who makes the sandbox of a step or a container. */
import { findRuntime } from '../layerfs/sandbox/find-runtime.ts'
import type { Environment } from './environment.ts'

export const isolationFlag = {
  kind: 'choice',
  choices: ['native', 'oci'],
  default: 'native',
  env: 'TSBUILD_ISOLATION',
  help: 'Who makes sandboxes: this program, or an installed crun or runc',
} as const

/** Throws `unsupported` when there is no other runtime. */
export function isolationRuntime(
  { isolation }: { readonly isolation: 'native' | 'oci' },
  { lookup }: Pick<Environment, 'lookup'>,
): { readonly runtime?: string } {
  if (isolation === 'native') return {}
  return { runtime: findRuntime(lookup('PATH') ?? '', lookup('TSBUILD_OCI_RUNTIME')) }
}
