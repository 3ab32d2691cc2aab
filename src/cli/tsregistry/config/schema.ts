/** The JSON Schema of `config.yml`, for editors: the table of keys, as a tree. Spec: 2020-12. */
import { isList, type Key, type KeyType, type ListType } from './key.ts'
import { keys } from './keys.ts'

interface Section {
  readonly type: readonly ['object', 'null']
  /** Names that the user chooses, or none. */
  additionalProperties: Section | false
  readonly properties: Record<string, object>
  readonly required?: readonly string[]
}

export function configSchema(): object {
  const root = section()
  for (const key of keys) place(root, key.path, schemaOf(key))
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'config.yml of tsregistry',
    ...root,
    type: 'object',
    required: ['version'],
  }
}

function place(root: Section, path: string, schema: object): void {
  const names = path.split('.')
  const last = names.pop() ?? ''
  names.reduce(sectionBelow, root).properties[last] = schema
}

function sectionBelow(above: Section, name: string): Section {
  if (name === '*') {
    above.additionalProperties ||= section()
    return above.additionalProperties
  }
  const below = (above.properties[name] as Section | undefined) ?? section()
  above.properties[name] = below
  return below
}

function section(): Section {
  return { type: ['object', 'null'], additionalProperties: false, properties: {} }
}

function schemaOf(key: Key): object {
  if (key.use === 'refused') {
    const description = `Not supported. ${key.help}`
    return key.unless === undefined
      ? { description, not: {} }
      : { description, enum: [...key.unless, null] }
  }
  const fallback = key.use === 'taken' && key.default !== undefined ? { default: key.default } : {}
  const description = key.use === 'accepted' ? `Without effect. ${key.help}` : key.help
  return { description, ...fallback, ...shapes(key.type) }
}

const scalar = { type: ['string', 'number', 'boolean'] }
const scalars = { anyOf: [scalar, { type: 'array', items: scalar }, { type: 'null' }] }

function shapes(type: KeyType): object {
  if (isList(type)) return { anyOf: [{ type: 'array', items: itemOf(type) }, { type: 'null' }] }
  if (typeof type !== 'string') return { enum: type.flatMap(text => [text, ...numberOf(text)]) }
  switch (type) {
    case 'any':
      return {}
    case 'string':
      return { type: [...scalar.type, 'null'] }
    case 'boolean':
    case 'number':
    case 'integer':
      return { type: [type, 'null'] }
    case 'duration':
      return { type: ['string', 'null'], pattern: '^(0|([0-9]+(\\.[0-9]+)?(h|ms|us|µs|ns|m|s))+)$' }
    case 'strings':
      return scalars
    case 'map':
      return { type: ['object', 'null'], additionalProperties: scalars }
  }
}

function itemOf({ list }: ListType): object {
  const item = section()
  for (const { name, type, help, default: fallback } of list) {
    const given = fallback === undefined ? {} : { default: fallback }
    place(item, name, { description: help, ...given, ...shapes(type) })
  }
  const required = list.flatMap(({ name, isRequired }) => (isRequired === true ? [name] : []))
  return { ...item, type: 'object', required }
}

/** YAML reads `0.1` as a number. */
function numberOf(text: string): readonly number[] {
  return /^[0-9.]+$/.test(text) ? [Number(text)] : []
}
