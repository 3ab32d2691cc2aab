/**
 * Whose language a file is in (D04). Ours is that of `docker/dockerfile`, which mirrors carry under
 * other hosts; other frontends are programs that only BuildKit can run.
 */
import { printable } from '../../oci/errors.ts'
import { detectSyntax } from './directive.ts'
import { DockerfileError } from './error.ts'

/**
 * `override`: what is said instead of the file's own `# syntax=`. Throws DockerfileError, code
 * `unsupported`, for another frontend than Dockerfile's: its language may differ anywhere.
 */
export function refuseForeignFrontend(
  source: string,
  { file, override }: { readonly file: string; readonly override: string | undefined },
): void {
  const frontend = override ?? detectSyntax(source)
  if (frontend === undefined || isOurs(frontend)) return
  throw new DockerfileError(
    `frontend "${printable(frontend)}" is not supported: only docker/dockerfile is`,
    {
      code: 'unsupported',
      hint: 'if the file is a Dockerfile like others, build it with --build-arg BUILDKIT_SYNTAX=docker/dockerfile:1',
      file,
      ...(override === undefined ? { span: lineAt(source, source.indexOf(frontend)) } : {}),
    },
  )
}

function isOurs(frontend: string): boolean {
  const name = /^([^@]*?)(?::[\w.-]+)?(?:@[a-z0-9]+:[0-9a-f]+)?$/.exec(frontend.trim())?.[1] ?? ''
  return /(?:^|\/)dockerfile(?:-upstream)?$/.test(name)
}

function lineAt(source: string, at: number) {
  const number = source.slice(0, at).split('\n').length
  const newline = source.indexOf('\n', at)
  const end = newline === -1 ? source.length : newline + 1
  return { startLine: number, endLine: number, start: source.lastIndexOf('\n', at) + 1, end }
}
