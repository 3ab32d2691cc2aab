import { type BaseImageWorld, baseImages } from '../../../builder/base-images.ts'
import { buildFailure } from '../../../builder/build-error.ts'
import type { BuildRequest } from '../../../builder/build-request.ts'
import { outlineOf } from '../../../builder/call/outline.ts'
import { listTargets } from '../../../builder/call/targets.ts'
import { type CheckReport, checkBuild } from '../../../builder/check-build.ts'
import { type Planning, parseRequested, planBuild } from '../../../builder/plan-build.ts'
import { unreachable } from '../../../oci/errors.ts'
import { field } from '../../../oci/json.ts'
import { programVersion } from '../../version.ts'
import type { Call } from './call-flag.ts'
import { checkJson, checkSarif, checkText } from './check-output.ts'
import {
  methodsJson,
  methodsText,
  outlineJson,
  outlineText,
  targetsJson,
  targetsText,
} from './list-output.ts'

export interface CallResult {
  /** For standard output. */
  readonly text: string
  readonly exitCode: number
  /** To be reported after the text. */
  readonly failure?: unknown
}

export type Asked = Exclude<Call['method'], 'build'>

/** Throws `BuildError` when the Dockerfile cannot be planned; of a check, that is in its result. */
export async function runCall(
  { method, format, ignoreStatus }: Call & { readonly method: Asked },
  request: BuildRequest,
  world: BaseImageWorld,
): Promise<CallResult> {
  if (method === 'check') {
    return checkResult({ format, ignoreStatus }, await checkBuild(request, world))
  }
  try {
    return { text: await listing({ method, format }, request, world), exitCode: 0 }
  } catch (error) {
    throw buildFailure(error, request.dockerfile.text)
  }
}

async function listing(
  { method, format }: { readonly method: Exclude<Asked, 'check'>; readonly format: Call['format'] },
  request: BuildRequest,
  world: BaseImageWorld,
): Promise<string> {
  const { text } = request.dockerfile
  const isJson = format === 'json'
  switch (method) {
    case 'subrequests.describe':
      return isJson ? methodsJson() : methodsText()
    case 'targets': {
      const targets = listTargets(parseRequested(request))
      return isJson ? targetsJson(targets, text) : targetsText(targets)
    }
    case 'outline': {
      const planning: Planning = { bases: baseImages(world), stages: 'needed', findings: [] }
      const planned = await planBuild(parseRequested(request), request, planning)
      const outline = outlineOf(planned)
      return isJson ? outlineJson(outline, text) : outlineText(outline)
    }
    default:
      return unreachable(method)
  }
}

function checkResult(
  { format, ignoreStatus }: Omit<Call, 'method'>,
  report: CheckReport,
): CallResult {
  const hasFailed = report.error !== undefined || (report.warnings.length > 0 && !ignoreStatus)
  return {
    text: checkReportText(format, report),
    exitCode: hasFailed ? 1 : 0,
    ...field('failure', format === 'text' ? failureOf(report) : undefined),
  }
}

function checkReportText(format: Call['format'], report: CheckReport): string {
  switch (format) {
    case 'json':
      return checkJson(report)
    case 'sarif':
      return checkSarif(report, { name: 'tsbuild', version: programVersion() })
    default:
      return checkText(report)
  }
}

function failureOf({ error, dockerfile }: CheckReport): unknown {
  return error === undefined ? undefined : buildFailure(error, dockerfile.text)
}
