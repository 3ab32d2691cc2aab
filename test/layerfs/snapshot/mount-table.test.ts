import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { mountPoints, mountSources } from '../../../src/layerfs/snapshot/mount-table.ts'
import { freshDirectory, removeDirectories } from '../content/scratch.ts'

afterAll(removeDirectories)

test('mountPoints() reads paths and sources, blanks and other bytes in them', () => {
  const table = join(freshDirectory(), 'mountinfo')
  writeFileSync(
    table,
    [
      '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
      String.raw`40 22 0:50 / /mnt/a\040b\134c rw master:2 propagate_from:1 - overlay tsrun:ab rw,lowerdir=x`,
      '41 22 0:51 / /mnt/ümläut rw - tmpfs  rw',
      '',
    ].join('\n'),
  )
  expect(mountPoints(table)).toEqual([
    { path: '/', source: '/dev/sda1' },
    { path: '/mnt/a b\\c', source: 'tsrun:ab' },
    { path: '/mnt/ümläut', source: '' },
  ])
})

test('mountPoints() of this process has its root', () => {
  expect(mountPoints().map(({ path }) => path)).toContain('/')
})

test('mountSources() has all that this process sees', () => {
  const sources = mountSources()
  for (const { source } of mountPoints()) expect(sources.has(source)).toBe(true)
})
