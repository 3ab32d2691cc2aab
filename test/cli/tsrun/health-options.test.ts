import { describe, expect, test } from 'vitest'
import { parseFlags } from '../../../src/cli/flags/flags.ts'
import { healthcheckFrom, healthFlags } from '../../../src/cli/tsrun/options/health-options.ts'

const from = (...words: string[]) =>
  healthcheckFrom(parseFlags({ flags: healthFlags }, words).values)

describe('healthcheckFrom()', () => {
  test('has what is given, in the words of an image, and no more', () => {
    expect(from()).toBeUndefined()
    expect(from('--health-cmd', '', '--health-interval', '0')).toBeUndefined()
    expect(from('--health-retries', '5')).toEqual({ Retries: 5 })
    expect(
      from(
        ...['--health-cmd=curl -f :80', '--health-interval=1m30s', '--health-timeout=1.5s'],
        ...['--health-start-period=1h', '--health-start-interval=250ms', '--health-retries=2'],
      ),
    ).toEqual({
      Test: ['CMD-SHELL', 'curl -f :80'],
      Interval: 90e9,
      Timeout: 1.5e9,
      StartPeriod: 3600e9,
      StartInterval: 0.25e9,
      Retries: 2,
    })
    expect(from('--no-healthcheck')).toEqual({ Test: ['NONE'] })
  })

  test.each([
    [['--no-healthcheck', '--health-cmd', 'true'], 'Cannot use flag --no-healthcheck with'],
    [['--health-interval', '0.5ms'], '--health-interval: expected at least 1ms, got 0.5ms'],
    [['--health-timeout', '-1s'], '--health-timeout'],
    [['--health-start-period', 'soon'], '--health-start-period'],
    [['--health-retries', '-1'], '--health-retries: expected 0 to 2147483647, got -1'],
    [['--health-retries', '2147483648'], '--health-retries'],
  ])('refuses %j', (words, message) => {
    expect(() => from(...words)).toThrow(message)
  })
})
