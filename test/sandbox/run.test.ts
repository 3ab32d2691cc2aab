import { describe, expect, test } from 'vitest'
import { makeBox, missing, run } from './box.ts'

describe.skipIf(missing !== undefined)(`runSandbox()${missing ? ` (${missing})` : ''}`, () => {
  test('runs a program as PID 1 with its host name', async () => {
    using box = makeBox()
    const { code, stdout, stderr } = await run(box, 'echo $$; hostname; pwd')
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout.split('\n').slice(0, 3)).toEqual(['1', 'box', '/'])
  })
})
