/**
 * Validates JSON by as much of JSON Schema (draft 7) as the schemas of our tests use; a keyword that
 * it does not know fails, so that none is passed over.
 */

export type Schema = { readonly [keyword: string]: unknown }

/** What is wrong with `value`, as `path: reason`; none when it is valid. */
export function schemaErrors(root: Schema, value: unknown): string[] {
  return errorsAt(root, value, { root, schema: root, path: '$' })
}

interface Place {
  readonly root: Schema
  /** The one that the keyword stands in. */
  readonly schema: Schema
  readonly path: string
}

type Check = (operand: unknown, value: unknown, place: Place) => string[]

const about: Check = () => []

const checks: Readonly<Record<string, Check>> = {
  $schema: about,
  $id: about,
  definitions: about,
  $ref: (operand, value, place) => {
    const name = String(operand).replace('#/definitions/', '')
    return errorsAt((place.root['definitions'] as Record<string, Schema>)[name] ?? {}, value, place)
  },
  type: (operand, value, { path }) => (typeOf(value, operand) ? [] : [`${path}: not ${operand}`]),
  enum: (operand, value, { path }) =>
    (operand as unknown[]).includes(value) ? [] : [`${path}: not one of ${operand}`],
  required: (operand, value, { path }) =>
    isObject(value)
      ? (operand as string[]).filter(key => !(key in value)).map(key => `${path}: lacks ${key}`)
      : [],
  properties: (operand, value, place) =>
    Object.entries(operand as Record<string, Schema>).flatMap(([key, schema]) =>
      isObject(value) && key in value
        ? errorsAt(schema, value[key], { ...place, path: `${place.path}.${key}` })
        : [],
    ),
  additionalProperties: (operand, value, { path, schema: { properties } }) =>
    operand === false && isObject(value)
      ? Object.keys(value)
          .filter(key => !(key in ((properties as object) ?? {})))
          .map(key => `${path}: has ${key}`)
      : [],
  items: (operand, value, place) =>
    Array.isArray(value)
      ? value.flatMap((item, index) =>
          errorsAt(operand as Schema, item, { ...place, path: `${place.path}[${index}]` }),
        )
      : [],
  minItems: (operand, value, { path }) =>
    Array.isArray(value) && value.length < Number(operand) ? [`${path}: too short`] : [],
  uniqueItems: (operand, value, { path }) => {
    if (operand !== true || !Array.isArray(value)) return []
    const texts = new Set(value.map(item => JSON.stringify(item)))
    return texts.size === value.length ? [] : [`${path}: an item twice`]
  },
  minimum: (operand, value, { path }) =>
    typeof value === 'number' && value < Number(operand) ? [`${path}: below ${operand}`] : [],
  format: (operand, value, { path }) => {
    const isUri = URL.canParse(String(value), operand === 'uri' ? undefined : 'http://host/')
    return isUri && !/[\s"<>\\^`{|}]/.test(String(value)) ? [] : [`${path}: not a ${operand}`]
  },
  anyOf: (operand, value, place) => {
    const tried = (operand as Schema[]).map(schema => errorsAt(schema, value, place))
    return tried.some(errors => errors.length === 0) ? [] : tried.flat()
  },
}

function errorsAt(schema: Schema, value: unknown, place: Place): string[] {
  return Object.entries(schema).flatMap(([keyword, operand]) => {
    const check = checks[keyword]
    if (check === undefined) throw new Error(`Schema keyword ${keyword} is not known here`)
    return check(operand, value, { ...place, schema })
  })
}

function typeOf(value: unknown, type: unknown): boolean {
  switch (type) {
    case 'array':
      return Array.isArray(value)
    case 'integer':
      return Number.isInteger(value)
    case 'object':
      return isObject(value)
    default:
      return typeof value === type
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
