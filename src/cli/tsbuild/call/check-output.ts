/** A check's report as BuildKit and buildx print it: for people, as JSON, and as SARIF. */

import { type Location, locationOf } from '../../../builder/call/location.ts'
import type { CheckReport } from '../../../builder/check-build.ts'
import { DockerfileError } from '../../../builder/dockerfile/error.ts'
import { excerptOf } from '../../../builder/dockerfile/excerpt.ts'
import type { LintWarning } from '../../../builder/dockerfile/lint.ts'
import type { Span } from '../../../builder/dockerfile/span.ts'
import { type OciError, printable } from '../../../oci/errors.ts'
import { field } from '../../../oci/json.ts'

/** The warnings with their lines; a build error is for the caller to report. */
export function checkText({ dockerfile, warnings, error }: CheckReport): string {
  if (warnings.length === 0) {
    return error === undefined ? 'Check complete, no warnings found.\n' : ''
  }
  const count =
    warnings.length === 1
      ? '1 warning has been found!'
      : `${warnings.length} warnings have been found!`
  return `Check complete, ${count}\n${warnings.map(warning => warningText(warning, dockerfile)).join('')}`
}

function warningText(
  { rule, url, message, span }: LintWarning,
  { name, text }: CheckReport['dockerfile'],
): string {
  const page = url === undefined ? '' : ` - ${url}`
  const excerpt = excerptOf(text, printable(name), span)
  return `\nWARNING: ${rule}${page}\n${printable(message, 1000)}\n${excerpt}`
}

/** BuildKit's `lint.LintResults`. */
export function checkJson({ dockerfile, warnings, error }: CheckReport): string {
  const results = {
    warnings: warnings.map(({ rule, description, url, message, span }) => ({
      ruleName: rule,
      description,
      ...field('url', url),
      detail: message,
      location: locationOf(span),
    })),
    sources: [
      {
        filename: dockerfile.name,
        language: 'Dockerfile',
        data: Buffer.from(dockerfile.text).toString('base64'),
      },
    ],
    ...field('buildError', error && buildErrorOf(error)),
  }
  return `${JSON.stringify(results, null, 2)}\n`
}

function buildErrorOf(error: OciError) {
  const span = spanOf(error)
  const location: Location = span === undefined ? { ranges: [] } : locationOf(span)
  return { message: error.message, location }
}

function spanOf(error: OciError): Span | undefined {
  return error instanceof DockerfileError ? error.span : undefined
}

/** SARIF 2.1.0: what code scanning services read. */
export function checkSarif(
  { dockerfile, warnings, error }: CheckReport,
  tool: { readonly name: string; readonly version: string },
): string {
  const rules = new Map(warnings.map(warning => [warning.rule as string, warning]))
  const place = (startLine: number, endLine: number) => ({
    physicalLocation: {
      artifactLocation: { uri: relativeUri(dockerfile.path ?? dockerfile.name) },
      region: { startLine, endLine },
    },
  })
  const run = {
    tool: {
      driver: {
        ...tool,
        rules: [...rules].map(([id, { description, url }]) => ({
          id,
          shortDescription: { text: description },
          ...field('helpUri', url),
        })),
      },
    },
    results: warnings.map(({ rule, message, span }) => ({
      ruleId: rule,
      ruleIndex: [...rules.keys()].indexOf(rule),
      level: 'warning',
      message: { text: message },
      locations: [place(span.startLine, span.endLine)],
    })),
    invocations: [
      {
        executionSuccessful: error === undefined,
        ...field('toolExecutionNotifications', error && [notification(error, place)]),
      },
    ],
  }
  return `${JSON.stringify({ $schema: schema, version: '2.1.0', runs: [run] }, null, 2)}\n`
}

/** Nothing in a path is a scheme, a query or a fragment. */
function relativeUri(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

const schema = 'https://json.schemastore.org/sarif-2.1.0.json'

function notification(error: OciError, place: (startLine: number, endLine: number) => object) {
  const span = spanOf(error)
  const locations = span === undefined ? {} : { locations: [place(span.startLine, span.endLine)] }
  return { level: 'error', message: { text: error.message }, ...locations }
}
