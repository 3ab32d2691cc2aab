import { describe, expect, test } from 'vitest'
import { humanAge, humanSize } from '../../src/cli/human.ts'
import { listOutput } from '../../src/cli/lists/list-output.ts'
import { formatTable } from '../../src/cli/lists/table.ts'
import { parseTemplate } from '../../src/cli/lists/template.ts'

describe('humanSize()', () => {
  test.each([
    [0, '0B'],
    [999, '999B'],
    [1000, '1kB'],
    [4_270_123, '4.27MB'],
    [133_400_000, '133MB'],
    [1_240_000_000, '1.24GB'],
  ])('shows %i as %s', (bytes, shown) => {
    expect(humanSize(bytes)).toBe(shown)
  })
})

describe('humanAge()', () => {
  const now = new Date('2026-06-01T00:00:00Z')
  test.each([
    ['2026-05-31T23:59:59.900Z', 'Less than a second ago'],
    ['2026-05-31T23:59:30Z', '30 seconds ago'],
    ['2026-05-31T23:58:30Z', 'About a minute ago'],
    ['2026-05-31T22:30:00Z', 'About an hour ago'],
    ['2026-05-29T00:00:00Z', '3 days ago'],
    ['2026-05-01T00:00:00Z', '4 weeks ago'],
    ['2026-01-01T00:00:00Z', '5 months ago'],
    ['2020-01-01T00:00:00Z', '6 years ago'],
    ['1970-01-01T00:00:00Z', 'N/A'],
    ['nonsense', 'N/A'],
    [undefined, 'N/A'],
  ])('shows %s as "%s"', (time, shown) => {
    expect(humanAge(time, now)).toBe(shown)
  })
})

describe('formatTable()', () => {
  test('aligns by display width, without trailing spaces', () => {
    expect(
      formatTable(
        ['A', 'B'],
        [
          ['漢字', 'x'],
          ['long name', ''],
        ],
      ),
    ).toBe('A           B\n漢字        x\nlong name\n')
  })
})

describe('parseTemplate()', () => {
  const value = {
    Id: 'sha256:1',
    Tags: ['a', 'b'],
    Config: { Env: ['X=1'], Labels: { 'a.b': 'c' } },
  }

  test.each([
    ['{{.Id}}', 'sha256:1'],
    ['{{ .Id }}-{{.Config.Env}}', 'sha256:1-[X=1]'],
    ['{{json .Config.Env}}', '["X=1"]'],
    ['{{json .}}', JSON.stringify(value)],
    ['{{index .Tags 1}}', 'b'],
    ['{{index .Config.Labels "a.b"}}', 'c'],
    ['{{.Tags | json}}', '["a","b"]'],
    ['{{join .Tags ", "}}', 'a, b'],
    ['{{upper .Id}} {{len .Tags}}', 'SHA256:1 2'],
    ['{{.Missing.Deep}}', '<no value>'],
    ['a\\tb', 'a\tb'],
    ['{{.constructor}}', '<no value>'],
  ])('makes of %s', (text, shown) => {
    expect(parseTemplate(text)(value)).toBe(shown)
  })

  test.each(['{{range .Tags}}x{{end}}', '{{if .Id}}x{{end}}', '{{$x}}', '{{}}', '{{.Id .Tags}}'])(
    'refuses %s with exit code 64',
    text => {
      expect(() => parseTemplate(text)).toThrow(expect.objectContaining({ exitCode: 64 }))
    },
  )
})

describe('listOutput()', () => {
  const rows = [
    { ID: '1', Name: 'one' },
    { ID: '1', Name: 'uno' },
  ]
  const columns = { 'THE ID': 'ID', NAME: 'Name' }
  test.each([
    [{ quiet: true, format: 'table' }, '1\n'],
    [{ quiet: false, format: 'table' }, 'THE ID   NAME\n1        one\n1        uno\n'],
    [{ quiet: false, format: 'json' }, '{"ID":"1","Name":"one"}\n{"ID":"1","Name":"uno"}\n'],
    [{ quiet: false, format: '{{.Name}}' }, 'one\nuno\n'],
    [{ quiet: false, format: 'table {{.Name}}\\t{{.ID}}' }, 'NAME   THE ID\none    1\nuno    1\n'],
  ])('prints %j', (flags, text) => {
    expect(listOutput(rows, columns, flags)).toBe(text)
  })
})
