/** `--build-context NAME=VALUE`: contexts besides the main one, by name (F11). */
import { type NamedContextNames, parseNamedContext } from '../../builder/sources/context-name.ts'
import { OciError } from '../../oci/errors.ts'
import { usageError } from '../cli-error.ts'

/** Names that mean something else wherever a context could be named. */
const reserved = ['scratch', 'context']

/** Of several with one name the last counts. Throws a usage error. */
export function parseBuildContexts(texts: readonly string[]): NamedContextNames {
  return new Map(texts.map(text => parseBuildContext(text)))
}

function parseBuildContext(text: string) {
  const equals = text.indexOf('=')
  const [name, value] = [text.slice(0, equals), text.slice(equals + 1)]
  if (equals < 1 || value === '') {
    throw usageError(`Cannot use flag --build-context "${text}": expected NAME=VALUE`)
  }
  if (reserved.includes(name)) {
    throw usageError(`Cannot use flag --build-context "${text}": the name "${name}" is taken`)
  }
  try {
    return [name, parseNamedContext(value)] as const
  } catch (error) {
    if (!(error instanceof OciError)) throw error
    throw usageError(`Cannot use flag --build-context "${text}": ${error.message}`)
  }
}
