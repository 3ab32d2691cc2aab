/** `shell`: builds up to a step, from the cache where it can, and opens a shell after it. */
import { buildPlatforms } from '../../../builder/build.ts'
import { ShellEnded } from '../../../builder/shell.ts'
import { parseContextName } from '../../../builder/sources/context-name.ts'
import { parseStepPlace } from '../../../builder/step-place.ts'
import { usageError } from '../../cli-error.ts'
import { type Command, defineCommand } from '../../command.ts'
import { type FlagTable, parseFlags } from '../../flags/flags.ts'
import { openWorld } from '../../world.ts'
import { buildFlags } from '../build-flags.ts'
import { assertContext } from '../dockerfile-input.ts'
import { type BuildInvocation, parsePlatforms } from '../request.ts'
import { withRequest } from '../with-request.ts'

/** What makes sense without a result. */
const {
  annotation: _annotation,
  'cache-to': _cacheTo,
  call: _call,
  check: _check,
  iidfile: _iidfile,
  label: _label,
  load: _load,
  'metadata-file': _metadataFile,
  'no-cache': _noCache,
  'on-error': _onError,
  output: _output,
  provenance: _provenance,
  push: _push,
  quiet: _quiet,
  reproducible: _reproducible,
  sbom: _sbom,
  tag: _tag,
  target: _target,
  'verify-reproducible': _verify,
  ...flags
} = buildFlags

export const shellCommand: Command = defineCommand({
  name: 'shell',
  usage: '[FLAGS] STAGE|[STAGE]:LINE [PATH|URL]',
  summary: 'Open a shell after any step of a Dockerfile',
  examples: ['shell build', 'shell build:12', 'shell :7 .', 'shell -f docker/Dockerfile test ..'],
  errorPrefix: 'failed to build: ',
  flags: flags satisfies FlagTable,
  arity: { min: 1, max: 2 },
  run: async invocation => {
    const [text = '', path = '.'] = invocation.args
    const place = parseStepPlace(text)
    if (place === undefined) {
      throw usageError(`Cannot find step "${text}": expected STAGE, STAGE:LINE or :LINE`)
    }
    const context = parseContextName(path)
    if (context.kind === 'stdin') throw usageError('Standard input is for the shell')
    assertContext(context, invocation.flags.file)
    const defaults = parseFlags({ flags: buildFlags }, []).values
    const build: BuildInvocation = {
      ...invocation,
      flags: { ...defaults, ...invocation.flags },
      args: [path],
    }
    await using world = await openWorld(invocation.environment, invocation.flags)
    const platforms = parsePlatforms(invocation.flags.platform)
    return await withRequest(
      build,
      { world, context, platforms, isReproducible: false },
      (request, buildWorld) =>
        buildPlatforms({ ...request, shellAt: place }, platforms, buildWorld).then(
          () => 0,
          (error: unknown) => {
            if (error instanceof ShellEnded) return error.exitCode
            throw error
          },
        ),
    )
  },
})
