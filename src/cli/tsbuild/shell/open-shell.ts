/** The shell that `--on-error=shell` and `tsbuild shell` open: the user's terminal in a sandbox. */
import type { OpenShell, ShellRequest } from '../../../builder/shell.ts'
import { runSandbox } from '../../../layerfs/sandbox/run.ts'
import { printable } from '../../../oci/errors.ts'
import type { CliContext } from '../../command.ts'
import type { Progress } from '../../progress/progress.ts'
import { styled } from '../../terminal.ts'

/**
 * One at a time, while the progress stands still. With a terminal as standard input the shell has
 * one, too; otherwise it reads its commands from there.
 */
export function shellOpener(
  { stdin, stdout, stderr }: Pick<CliContext, 'stdin' | 'stdout' | 'stderr'>,
  progress: Pick<Progress, 'suspend'>,
): OpenShell {
  let last: Promise<unknown> = Promise.resolve()
  const open = async (request: ShellRequest): Promise<number> => {
    request.signal.throwIfAborted()
    using _quiet = progress.suspend()
    stderr.write(`\n${styled(headOf(request), 'bold', stderr)}\n`)
    const { spec, program, id, stubs, signal } = request
    const isTerminal = stdin().isTTY === true && stdout.isTTY === true
    const env = isTerminal ? [...spec.env, 'TERM=xterm'] : spec.env
    const shell = { ...spec, argv: [program], env, terminal: isTerminal }
    const io = { stdin: 'inherit', output: 'inherit', volatile: true } as const
    const { code } = await runSandbox(shell, { ...io, id, stubs, signal })
    return code
  }
  return request => {
    const result = last.then(() => open(request))
    last = result.catch(() => undefined)
    return result
  }
}

function headOf({ failure, program, spec: { cwd } }: ShellRequest): string {
  const where = `${printable(program)} in ${printable(cwd)}`
  if (failure === undefined) return `${where}: what you change is gone when it ends`
  return `${printable(failure.message, 1000)}\n${where}, as the step left it: "exit" ends the build`
}
