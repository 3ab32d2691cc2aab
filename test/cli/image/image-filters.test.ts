/** What `images PATTERN` and `images --filter` find. */
import { describe, expect, test } from 'vitest'
import { imageFilters } from '../../../src/cli/image/image-filters.ts'
import { filterOf } from '../../../src/cli/lists/filters.ts'
import type { LocalImage } from '../../../src/layerfs/runtime/local-image.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { parseReference } from '../../../src/oci/reference.ts'

const image = (name: string, created?: string, Labels: Record<string, string> = {}) =>
  ({
    reference: name === '' ? undefined : parseReference(name),
    target: { digest: digestOf(`manifest of ${name}`) },
    config: { digest: digestOf(name), value: { created, config: { Labels } } },
  }) as unknown as LocalImage

const all = [
  image('app:1', '2026-01-01T00:00:00Z', { tier: 'web' }),
  image('app:2', '2026-01-02T00:00:00Z', { tier: 'db', old: '' }),
  image('localhost:5000/team/app:1.10', '2026-01-03T00:00:00Z'),
  image(''),
]
const [first] = all
const now = new Date('2026-01-03T12:00:00Z')

describe('images', () => {
  const found = (...words: string[]) =>
    all
      .filter(filterOf(words, imageFilters({ all, now })))
      .map(({ reference }) => `${reference?.repository}:${reference?.tag}`)
  const [one, two, team, none] = [
    'library/app:1',
    'library/app:2',
    'team/app:1.10',
    'undefined:undefined',
  ]

  test.each([
    ['reference=app', [one, two]],
    ['reference=app:1', [one]],
    ['reference=a*', [one, two]],
    ['reference=a??:[2-9]', [two]],
    ['reference=docker.io/library/app', [one, two]],
    ['reference=app:latest', []],
    ['reference=ap', []],
    ['reference=*', [one, two]],
    ['reference=*/*/app', [team]],
    ['reference=localhost:5000/team/app:1.*', [team]],
    [`reference=app@${first?.target.digest}`, [one]],
    ['dangling=true', [none]],
    ['dangling=0', [one, two, team]],
    ['label=tier', [one, two]],
    ['label=tier=db', [two]],
    ['label!=old', [one, team, none]],
    ['before=app:2', [one, none]],
    ['since=app:1', [two, team]],
    [`since=${first?.config.digest.slice(7, 15)}`, [two, team]],
    ['until=12h', [one, two, none]],
    ['until=2026-01-02', [one, none]],
  ])('by %s are %j', (word, names) => {
    expect(found(word)).toEqual(names)
  })

  test('fit one reference, and one value of each other key', () => {
    expect(found('reference=app:1', 'reference=*/*/app')).toEqual([one, team])
    expect(found('reference=app', 'label=tier', 'label=old')).toEqual([two])
  })

  test.each([
    ['size=1', 'with one of the keys before, dangling, label, label!, reference, since, until'],
    ['app', 'expected KEY=VALUE'],
    ['dangling=maybe', 'expected true or false'],
    ['reference=[', 'Cannot find images by "["'],
    ['before=nobody', 'Cannot filter by image "nobody": there is none of that name or id'],
    ['until=soon', 'Cannot use flag --filter until'],
  ])('are not found by %s', (word, why) => {
    expect(() => found(word)).toThrow(why)
    expect(() => filterOf([word], imageFilters({ all: [], now }))).toThrow(why)
  })
})
