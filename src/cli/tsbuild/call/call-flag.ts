/** `--call` and `--check`: what to find out about a build instead of running it. */
import { suggest } from '../../../oci/suggest.ts'
import { usageError } from '../../cli-error.ts'
import { parseBoolean } from '../../flags/flag-values.ts'

const methods = ['build', 'check', 'outline', 'targets', 'subrequests.describe'] as const
const formats = ['text', 'json', 'sarif'] as const

export interface Call {
  readonly method: (typeof methods)[number]
  readonly format: (typeof formats)[number]
  /** Ends with 0 although there are warnings. */
  readonly ignoreStatus: boolean
}

/** `check`, `check,format=json`. Throws a usage error. */
export function parseCall({
  call,
  check,
}: {
  readonly call: string
  readonly check: boolean
}): Call {
  const [typed = '', ...settings] = call.split(',')
  const method = methods.find(known => known === (typed === 'lint' ? 'check' : typed))
  if (method === undefined) {
    const meant = suggest(typed, methods)
    throw usageError(
      `Cannot use flag --call "${call}": expected ${methods.join(', ')}`,
      meant === undefined ? undefined : `Did you mean ${meant}?`,
    )
  }
  if (check && method !== 'build' && method !== 'check') {
    throw usageError(`Flag --check is --call=check: it cannot be given with --call=${method}`)
  }
  const start: Call = { method: check ? 'check' : method, format: 'text', ignoreStatus: false }
  const parsed = settings.reduce((sofar, setting) => withSetting(sofar, setting, call), start)
  if (parsed.format === 'sarif' && parsed.method !== 'check') {
    throw usageError(`Cannot use flag --call "${call}": only check has format=sarif`)
  }
  return parsed
}

function withSetting(call: Call, setting: string, text: string): Call {
  const [key, value = ''] = setting.split('=', 2)
  const format = formats.find(known => known === value)
  if (key === 'format' && format !== undefined) return { ...call, format }
  if (key === 'ignorestatus') return { ...call, ignoreStatus: value === '' || parseBoolean(value) }
  throw usageError(
    `Cannot use flag --call "${text}": expected format=${formats.join('|')} or ignorestatus=true, got "${setting}"`,
  )
}
