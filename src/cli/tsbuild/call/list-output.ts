/** What `--call=outline`, `targets` and `subrequests.describe` print: BuildKit's tables and JSON. */
import { locationOf } from '../../../builder/call/location.ts'
import type { Outline, OutlineMount } from '../../../builder/call/outline.ts'
import type { Target } from '../../../builder/call/targets.ts'
import { printable } from '../../../oci/errors.ts'
import { field } from '../../../oci/json.ts'
import { formatTable } from '../../lists/table.ts'

export function targetsText(targets: readonly Target[]): string {
  return formatTable(
    ['TARGET', 'DESCRIPTION'],
    targets.map(({ name, isDefault, description = '' }) => [
      [name ?? '', ...(isDefault ? ['(default)'] : [])].join(' ').trim(),
      printable(description, 1000),
    ]),
    1,
  )
}

export function targetsJson(targets: readonly Target[], source: string): string {
  return jsonText({
    targets: targets.map(({ isDefault, span, name, description, base, platform }) => ({
      ...field('name', name),
      ...(isDefault ? { default: true } : {}),
      ...field('description', description),
      base,
      ...field('platform', platform),
      location: locationOf(span),
    })),
    sources: [base64(source)],
  })
}

export function outlineText(outline: Outline): string {
  const { args, secrets, ssh } = outline
  const argRows = args.map(arg => [
    arg.name,
    printable(arg.value ?? '', 1000),
    printable(arg.description ?? '', 1000),
  ])
  return [
    ...outlineHead(outline),
    ...(args.length === 0 ? [] : [formatTable(['BUILD ARG', 'VALUE', 'DESCRIPTION'], argRows)]),
    ...mountTable('SECRET', secrets),
    ...mountTable('SSH', ssh),
  ].join('\n')
}

function outlineHead({ name, description }: Outline): string[] {
  if (name === undefined) return []
  if (description === undefined) return [`TARGET: ${name}\n`]
  return [`TARGET:      ${name}\nDESCRIPTION: ${printable(description, 1000)}\n`]
}

function mountTable(head: string, mounts: readonly OutlineMount[]): string[] {
  if (mounts.length === 0) return []
  const rows = mounts.map(({ name, required }) => [printable(name), required ? 'true' : ''])
  return [formatTable([head, 'REQUIRED'], rows)]
}

export function outlineJson(
  { name, description, args, secrets, ssh }: Outline,
  source: string,
): string {
  const mounts = (all: readonly OutlineMount[]) =>
    all.map(({ name: id, required, span }) => ({
      name: id,
      ...(required ? { required } : {}),
      location: locationOf(span),
    }))
  return jsonText({
    ...field('name', name),
    ...field('description', description),
    ...(args.length === 0 ? {} : { args: args.map(argJson) }),
    ...(secrets.length === 0 ? {} : { secrets: mounts(secrets) }),
    ...(ssh.length === 0 ? {} : { ssh: mounts(ssh) }),
    sources: [base64(source)],
  })
}

function argJson({ name, value, description, span }: Outline['args'][number]) {
  return {
    name,
    ...field('description', description),
    ...field('value', value),
    location: locationOf(span),
  }
}

const methods = [
  { name: 'frontend.outline', description: 'List all parameters current build takes' },
  { name: 'frontend.targets', description: 'List all targets current build supports' },
  { name: 'frontend.lint', description: 'Lint a Dockerfile' },
  { name: 'frontend.subrequests.describe', description: 'List available subrequest types' },
]

export function methodsText(): string {
  return formatTable(
    ['NAME', 'VERSION', 'DESCRIPTION'],
    methods.map(({ name, description }) => [name.replace('frontend.', ''), '1.0.0', description]),
  )
}

export function methodsJson(): string {
  return jsonText(
    methods.map(({ name, description }) => ({
      name,
      version: '1.0.0',
      type: 'rpc',
      description,
      metadata: [{ name: 'result.json' }, { name: 'result.txt' }],
    })),
  )
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
