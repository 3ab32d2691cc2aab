import { describe, expect, test } from 'vitest'
import { parseHealth } from '../../../src/layerfs/runtime/container-health.ts'
import { healthCheckOf, mergedHealthcheck } from '../../../src/layerfs/runtime/healthcheck.ts'
import type { Healthcheck } from '../../../src/oci/image-config.ts'

const parse = (text: string) => parseHealth(Buffer.from(text, 'latin1'), 2500)

describe('parseHealth()', () => {
  test('reads what the monitor writes', () => {
    const text = [
      'unhealthy 3\n',
      '1700000000.001 1700000000.250 7 4\na\nb\n\n',
      '1700000001.001 1700000003.501 timeout 0\n\n',
      '1700000004.001 1700000006.501 timeout 4\nlate\n',
      '1700000007.001 1700000007.002 failed 11\nfind\u00002\u0000curl\n',
      '1700000008.001 1700000008.002 lost 0\n\n',
    ].join('')
    expect(parse(text)).toEqual({
      status: 'unhealthy',
      failingStreak: 3,
      log: [
        {
          start: '2023-11-14T22:13:20.001Z',
          end: '2023-11-14T22:13:20.250Z',
          exitCode: 7,
          output: 'a\nb\n',
        },
        expect.objectContaining({ exitCode: -1, output: 'Health check exceeded timeout (2.5s)' }),
        expect.objectContaining({ output: 'Health check exceeded timeout (2.5s): late' }),
        expect.objectContaining({
          exitCode: -1,
          output: 'Cannot run "curl": executable file not found in $PATH',
        }),
        expect.objectContaining({ exitCode: -1, output: expect.stringContaining('was killed') }),
      ],
    })
    expect(parse('starting 0\n')).toEqual({ status: 'starting', failingStreak: 0, log: [] })
  })

  test('shows the beginning of what is long, and no control character', () => {
    const of = (output: string) =>
      parse(`healthy 0\n1.000 1.001 0 ${output.length}\n${output}\n`)?.log[0]?.output
    expect(of('x'.repeat(4096))).toBe('x'.repeat(4096))
    expect(of('x'.repeat(4097))).toBe(`${'x'.repeat(4096)}...`)
    expect(of('a\tb\r\n\u001b]0;t\u0007\u009b1m')).toBe('a\tb\\u000d\n\\u001b]0;t\\u0007\ufffd1m')
  })

  test.each([
    '',
    'healthy',
    'healthy 0',
    'well 0\n',
    'healthy -1\n',
    'healthy 1e3\n',
    'healthy 0\n1.000 1.001 0 9\nshort\n',
    'healthy 0\n1.000 1.001 0 99999\n\n',
    'healthy 0\n1.000 1.001 ok 0\n\n',
    'healthy 0\n1.000 1.001 0 0',
    'healthy 0\n\n',
  ])('finds nothing in %j', text => {
    expect(parse(text)).toBeUndefined()
  })
})

const image: Healthcheck = { Test: ['CMD', 'a'], Interval: 5e9, Retries: 7 }

describe('mergedHealthcheck()', () => {
  test.each<{ of?: Healthcheck; wished?: Healthcheck; merged?: Healthcheck }>([
    {},
    { of: image, merged: image },
    { wished: { Test: ['CMD-SHELL', 'b'] }, merged: { Test: ['CMD-SHELL', 'b'] } },
    { of: image, wished: { Timeout: 1e9, Interval: 0 }, merged: { ...image, Timeout: 1e9 } },
    { of: image, wished: { Test: ['NONE'] }, merged: { ...image, Test: ['NONE'] } },
  ])('puts together %j', ({ of, wished, merged }) => {
    const config = of === undefined ? {} : { Healthcheck: of }
    expect(mergedHealthcheck(config, wished)).toEqual(merged)
  })

  test('refuses wishes about a check that there is not', () => {
    expect(() => mergedHealthcheck({}, { Retries: 2 })).toThrow('the image names no command')
  })
})

describe('healthCheckOf()', () => {
  test('has docker’s defaults', () => {
    expect(healthCheckOf({ Test: ['CMD-SHELL', 'a b'], Retries: 0 })).toEqual({
      argv: ['/bin/sh', '-c', 'a b'],
      interval: 30_000,
      timeout: 30_000,
      startPeriod: 0,
      startInterval: 5000,
      retries: 3,
    })
  })

  test('takes words as they are', () => {
    expect(healthCheckOf({ Test: ['CMD', 'a', 'b c'] })?.argv).toEqual(['a', 'b c'])
  })

  test('no time is shorter than a millisecond, which is what the monitor counts in', () => {
    const check = { Test: ['CMD', 'a'], Interval: 1, Timeout: 1_000_001, StartPeriod: 2e6 }
    expect(healthCheckOf(check)).toMatchObject({ interval: 1, timeout: 2, startPeriod: 2 })
  })

  test.each<Healthcheck | undefined>([undefined, {}, { Test: [] }, { Test: ['NONE'] }])(
    '%j checks nothing',
    healthcheck => {
      expect(healthCheckOf(healthcheck)).toBeUndefined()
    },
  )

  test.each([['CMD'], ['TCP', '80'], ['cmd', 'a']])('refuses %j', (...Test) => {
    expect(() => healthCheckOf({ Test })).toThrow('expected CMD or CMD-SHELL and a command')
  })
})
