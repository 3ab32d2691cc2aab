/** What `ps --filter` finds, and which volumes `-v` means. */
import { describe, expect, test } from 'vitest'
import { filterOf } from '../../../src/cli/lists/filters.ts'
import { containerFilters } from '../../../src/cli/tsrun/container-filters.ts'
import { labelsOf } from '../../../src/cli/tsrun/options/label-options.ts'
import { parseMount } from '../../../src/cli/tsrun/options/mount-options.ts'
import { parseVolume } from '../../../src/cli/tsrun/options/volume-options.ts'
import type { Container } from '../../../src/layerfs/runtime/container-list.ts'
import type { ContainerRecord } from '../../../src/layerfs/runtime/container-record.ts'

const container = (name: string, record: Partial<ContainerRecord>, isRunning = false) =>
  ({
    id: Buffer.from(name).toString('hex').padEnd(64, '0'),
    path: '/nowhere',
    isRunning,
    record: {
      ...{ name, image: 'bb:1', imageId: `sha256:${'ab'.repeat(32)}`, argv: ['sh'] },
      ...{ createdAt: '2026-01-01T00:00:00Z', lifetime: 'kept', startedAt: '2026-01-01T00:00:00Z' },
      ...record,
    },
  }) satisfies Container

const volume = { target: '/v', readOnly: false, copies: true, isAnonymous: false }
const port = { hostAddress: '0.0.0.0', hostPort: 80, port: 8080, protocol: 'tcp' } as const
const end = { code: 7, outOfMemory: false, at: '2026-01-01T00:00:00Z' }
const neverStarted = { startedAt: undefined } as unknown as Partial<ContainerRecord>
const all = [
  container('web-1', { labels: { a: '1', b: '2' }, ports: [port] }, true),
  container('web-2', { labels: { a: '2' }, end, createdAt: '2026-01-02T00:00:00Z' }),
  container('db', { volumes: [{ ...volume, name: 'data' }], ...neverStarted }),
]

describe('ps --filter', () => {
  const found = (...words: string[]) =>
    all.filter(filterOf(words, containerFilters(all))).map(({ record }) => record.name)

  test.each([
    [['name=web'], ['web-1', 'web-2']],
    [
      ['name=web-1', 'name=db'],
      ['web-1', 'db'],
    ],
    [['label=a'], ['web-1', 'web-2']],
    [['label=a=1', 'label=b=2'], ['web-1']],
    [['label=a=1', 'label=b=3'], []],
    [['label=constructor'], []],
    [['status=created'], ['db']],
    [['status=exited'], ['web-2']],
    [['exited=7'], ['web-2']],
    [['exited=0'], []],
    [['volume=data'], ['db']],
    [['volume=/v', 'name=web'], []],
    [['since=web-1'], ['web-2']],
    [['before=web-2'], ['web-1', 'db']],
    [['publish=80'], ['web-1']],
    [['publish=80/udp'], []],
    [['ancestor=bb'], ['web-1', 'web-2', 'db']],
    [['ancestor=abab', 'name=db'], ['db']],
    [['ancestor=other'], []],
    [['id=64'], ['db']],
    [['id='], []],
  ])('%j finds %j', (words, names) => {
    expect(found(...words)).toEqual(names)
  })

  test.each([
    ['network=none', 'expected KEY=VALUE with one of the keys id, name,'],
    ['health=ill', 'expected starting, healthy, unhealthy, none'],
    ['name', 'expected KEY=VALUE'],
    ['status=odd', 'expected created, '],
    ['exited=x', 'expected a number'],
    ['publish=x', 'expected 80/tcp'],
    ['since=nobody', 'Cannot find container "nobody"'],
  ])('%s is refused, also where there is no container', (word, why) => {
    expect(() => found(word)).toThrow(why)
    expect(() => filterOf([word], containerFilters([]))).toThrow(why)
  })
})

describe('volumes', () => {
  test('by name, without one, and of this machine', () => {
    const wish = { target: '/x', readOnly: false, copies: true }
    expect(parseVolume('data:/x')).toEqual({ ...wish, name: 'data' })
    expect(parseVolume('data:/x:ro,nocopy')).toMatchObject({ readOnly: true, copies: false })
    expect(parseVolume('/x')).toEqual(wish)
    expect(parseVolume('/y:/x')).toMatchObject({ kind: 'bind', source: '/y' })
    expect(parseVolume('./y:/x')).toMatchObject({ kind: 'bind' })
    expect(parseMount('source=data,target=/x')).toEqual({ ...wish, name: 'data' })
    expect(parseMount('type=volume,target=/x,volume-nocopy')).toMatchObject({ copies: false })
  })

  test.each([
    ['x:/y', 'Cannot use volume name "x"'],
    ['a/b:/y', 'Cannot use volume name "a/b"'],
    ['data:/', 'the target cannot be the root'],
    ['data://', 'the target cannot be the root'],
    ['data:relative', 'the target must be an absolute path'],
    ['relative', 'the target must be an absolute path'],
    ['/tmp:/y:nocopy', 'only a volume gets a copy'],
    ['data:/y:odd', 'unknown option "odd"'],
    ['a:/b:ro:x', 'expected [SOURCE:]TARGET'],
  ])('%s is refused', (text, why) => {
    expect(() => parseVolume(text)).toThrow(why)
  })

  test('with a driver are refused', () => {
    expect(() => parseMount('type=volume,source=data,target=/y,volume-driver=nfs')).toThrow(
      'unknown option "volume-driver" of volume',
    )
  })
})

test('a label needs a key without spaces', async () => {
  expect(await labelsOf(['a=b=c', 'd'])).toEqual({ a: 'b=c', d: '' })
  await expect(labelsOf(['=x'])).rejects.toThrow('expected KEY=VALUE')
  await expect(labelsOf(['a b=x'])).rejects.toThrow('expected KEY=VALUE')
})
