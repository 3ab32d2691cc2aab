/** What differs between the key of a step and that of the same step in the last build. */
import type { KeyParts } from '../solve/graph.ts'
import { compareInventories, type Inventories } from './inventory.ts'
import type { Cause } from './miss.ts'

/**
 * None when the parts are equal. What the step builds on comes last, as `parent`: a change of the
 * step's own says more.
 */
export async function compareParts(
  earlier: KeyParts,
  now: KeyParts,
  inventories: Pick<Inventories, 'find'>,
): Promise<Cause[]> {
  const names = [...new Set([...Object.keys(earlier), ...Object.keys(now)])].sort()
  const own: Cause[] = []
  let parent: Cause[] = []
  for (const name of names) {
    const [from, to] = [partOf(earlier, name), partOf(now, name)]
    if (from === to) continue
    if (name === 'base') parent = [{ kind: 'parent', subject: 'what it builds on' }]
    else own.push(...(await comparePart(name, { from, to }, inventories)))
  }
  return [...own, ...parent]
}

function partOf(parts: KeyParts, name: string): string | undefined {
  return Object.hasOwn(parts, name) ? parts[name] : undefined
}

interface Values {
  readonly from: string | undefined
  readonly to: string | undefined
}

async function comparePart(
  name: string,
  values: Values,
  inventories: Pick<Inventories, 'find'>,
): Promise<Cause[]> {
  const { from, to } = values
  if (from !== undefined && to !== undefined) {
    const files = await compareFiles(from, to, inventories)
    if (files.length > 0) return files
  }
  const [, kind = '', subject = ''] = /^(\S+) ?(.*)$/s.exec(name) ?? []
  switch (kind) {
    case 'ARG':
    case 'ENV':
      return [{ kind: 'variable', subject: name, changes: [valueChange(subject, values)] }]
    case 'image':
      return [{ kind: 'image', subject, changes: [{ what: 'digest', ...present(values) }] }]
    case 'URL':
    case 'repository':
      return [{ kind: 'source', subject: name, changes: [{ what: 'value', ...present(values) }] }]
    case 'source':
      return [{ kind: 'file', subject, changes: [presence(values)] }]
    case 'files':
      return [{ kind: 'source', subject: 'what it copies' }]
    case 'flags':
      return compareFlags(values)
    default:
      return [{ kind: 'setting', subject: settingNames[kind] ?? name, ...told(name, values) }]
  }
}

async function compareFiles(
  from: string,
  to: string,
  inventories: Pick<Inventories, 'find'>,
): Promise<Cause[]> {
  // All other parts, and there are some in every step, stand for no files.
  if (![from, to].every(value => value.startsWith('sha256:'))) return []
  const [earlier, now] = [await inventories.find(from), await inventories.find(to)]
  return earlier === undefined || now === undefined ? [] : compareInventories(earlier, now)
}

function present({ from, to }: Values) {
  return { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }
}

function presence({ from, to }: Values) {
  if (from === undefined) return { what: 'added' }
  return to === undefined ? { what: 'removed' } : { what: 'type', from, to }
}

/** As the check for secrets in ARG and ENV has it: what is told stays in logs. */
const secretWords = /(^|_)(apikey|auth|credentials?|key|password|pword|passwd|secret|token)($|_)/i

function valueChange(name: string, values: Values) {
  if (secretWords.test(name)) return { what: 'value' }
  return { what: 'value', ...present(values) }
}

const settingNames: Readonly<Record<string, string>> = {
  command: 'its command line (SHELL)',
  scripts: 'its heredoc',
  cwd: 'WORKDIR',
  user: 'USER',
  network: '--network',
  security: '--security',
  hostname: 'BUILDKIT_SANDBOX_HOSTNAME',
  hosts: '--add-host',
  mounts: '--mount',
  mount: 'what a mount shows',
  step: 'the instruction',
}

/** Those whose values say something to a person. */
function told(name: string, values: Values) {
  const isShort = ['cwd', 'user', 'network', 'security', 'hostname', 'step'].includes(name)
  return isShort ? { changes: [{ what: 'value', ...present(values) }] } : {}
}

/** Flags and destination of a COPY, one by one. */
function compareFlags({ from = '{}', to = '{}' }: Values): Cause[] {
  const [earlier, now] = [flagsIn(from), flagsIn(to)]
  return [...new Set([...Object.keys(earlier), ...Object.keys(now)])].sort().flatMap(name => {
    const values = { from: earlier[name], to: now[name] }
    if (values.from === values.to) return []
    const subject = name === 'dest' ? 'its destination' : `--${name}`
    return [{ kind: 'setting' as const, subject, changes: [{ what: 'value', ...present(values) }] }]
  })
}

function flagsIn(text: string): Record<string, string | undefined> {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(
    Object.entries(value).map(([name, flag]) => [
      name,
      typeof flag === 'string' ? flag : JSON.stringify(flag),
    ]),
  )
}
