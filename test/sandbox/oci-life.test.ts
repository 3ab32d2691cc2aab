/** Containers of bundles: their life, their hooks, and what is done in the wrong order. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  deleteContainer,
  killContainer,
  pauseContainer,
} from '../../src/layerfs/oci-runtime/lifecycle.ts'
import { readState } from '../../src/layerfs/oci-runtime/state.ts'
import { missing } from './box.ts'
import { type Bundles, type Config, makeBundles } from './bundle.ts'

const forever = (config: Config) => {
  config.process.args = ['sleep', '1000']
}

describe.skipIf(missing !== undefined)('a container of a bundle', () => {
  let bundles: Bundles
  beforeAll(() => {
    bundles = makeBundles()
  })
  afterAll(async () => {
    await bundles[Symbol.asyncDispose]()
  })
  const script = (text: string) => (config: Config) => {
    config.process.args = ['sh', '-c', text]
  }

  const started = async (id: string, change: (config: Config) => void) => {
    const pid = await bundles.create(id, bundles.write(change))
    await bundles.start(id)
    return pid
  }
  const remove = (id: string) => deleteContainer(bundles.root, id, { force: true })
  const fails = async (change: (config: Config) => void) => {
    await expect(bundles.create('failing', bundles.write(change))).rejects.toThrow()
    expect(existsSync(join(bundles.root, 'failing'))).toBe(false)
    const error: unknown = await bundles.create('failing', bundles.write(change)).catch(e => e)
    return (error as Error).message
  }

  describe('lives', () => {
    test('from created, where nothing of it has run, to running, stopped and gone', async () => {
      const file = join(bundles.directory, 'pid')
      const bundle = bundles.write(script('echo ran > /out/life; exec sleep 1000'))
      const pid = await bundles.create('life', bundle, { pidFile: file })
      expect(bundles.status('life')).toBe('created')
      expect(readFileSync(file, 'utf8')).toBe(String(pid))
      expect(existsSync(join(bundles.out, 'life'))).toBe(false)
      await bundles.start('life')
      expect(bundles.status('life')).toBe('running')
      await expect.poll(() => existsSync(join(bundles.out, 'life'))).toBe(true)
      killContainer({ root: bundles.root, id: 'life', all: false }, constants.signals.SIGKILL)
      await bundles.until('life', 'stopped')
      expect(readState(bundles.root, 'life').bundle).toBe(bundle)
      await deleteContainer(bundles.root, 'life', { force: false })
      expect(existsSync(join(bundles.root, 'life'))).toBe(false)
    })

    test('through pause and resume', async () => {
      await started('pause', forever)
      pauseContainer(bundles.root, 'pause', true)
      expect(bundles.status('pause')).toBe('paused')
      expect(() => pauseContainer(bundles.root, 'pause', true)).toThrow('it is paused')
      pauseContainer(bundles.root, 'pause', false)
      expect(bundles.status('pause')).toBe('running')
      await remove('pause')
    })

    test('leaving no cgroup, state or process when it is deleted by force', async () => {
      const pid = await started('force', script('sleep 1000 & exec sleep 1000'))
      const { cgroup } = readState(bundles.root, 'force')
      await expect(deleteContainer(bundles.root, 'force', { force: false })).rejects.toThrow(
        'it is running',
      )
      await remove('force')
      expect(existsSync(`/proc/${pid}`) && !isZombie(pid)).toBe(false)
      for (const path of [cgroup.unified, ...Object.values(cgroup.classic)]) {
        expect(path !== undefined && existsSync(path)).toBe(false)
      }
    })

    test.each(['start', 'kill', 'state', 'delete'] as const)(
      'only when it is there: %s says that it is not',
      async action => {
        const { root } = bundles
        const actions = {
          start: async () => void (await bundles.start('nobody')),
          kill: async () => killContainer({ root, id: 'nobody', all: false }, 15),
          state: async () => void readState(root, 'nobody'),
          delete: async () => void (await deleteContainer(root, 'nobody', { force: false })),
        }
        await expect(actions[action]()).rejects.toMatchObject({
          code: 'not-found',
          message: expect.stringContaining('container does not exist'),
        })
        await deleteContainer(root, 'nobody', { force: true })
      },
    )

    test('in its order: a second start, a delete of one that runs, a kill after the end and a second create are refused', async () => {
      await started('order', script('until [ -e /out/go ]; do sleep 0.02; done'))
      await expect(bundles.start('order')).rejects.toThrow('it is running')
      await expect(deleteContainer(bundles.root, 'order', { force: false })).rejects.toThrow(
        'Cannot delete container "order": it is running',
      )
      expect(bundles.status('order')).toBe('running')
      writeFileSync(join(bundles.out, 'go'), 'on\n')
      await bundles.until('order', 'stopped')
      await expect(bundles.start('order')).rejects.toThrow('it is not running')
      const { root } = bundles
      expect(() => killContainer({ root, id: 'order', all: false }, 15)).toThrow(
        'it is not running',
      )
      await expect(bundles.create('order', bundles.write())).rejects.toMatchObject({
        code: 'already-exists',
      })
      await remove('order')
    })

    test('until a signal, also before its start', async () => {
      await bundles.create('early', bundles.write(forever))
      killContainer({ root: bundles.root, id: 'early', all: false }, constants.signals.SIGTERM)
      await bundles.until('early', 'stopped')
      await remove('early')
    })

    test('under names that stay in the directory of states', async () => {
      for (const id of ['..', 'a/b', '', 'x\0']) {
        await expect(bundles.create(id, bundles.write())).rejects.toThrow('Cannot use container id')
      }
    })

    test('and a create that was killed is taken away by force', async () => {
      mkdirSync(join(bundles.root, 'half'), { recursive: true })
      expect(() => readState(bundles.root, 'half')).toThrow('Cannot read the state')
      await remove('half')
      expect(existsSync(join(bundles.root, 'half'))).toBe(false)
    })
  })

  describe('runs its hooks', () => {
    const hook = (stage: string, text: string) => [
      { path: '/bin/sh', args: ['sh', '-c', text], env: [`STAGE=${stage}`] },
    ]

    test('in order, each with the state', async () => {
      const log = join(bundles.out, 'hooks')
      const outside = ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop']
      await bundles.run('true', config => {
        const note = (to: string) => `echo $STAGE $(cat) >> ${to}`
        config.hooks = {
          ...Object.fromEntries(outside.map(stage => [stage, hook(stage, note(log))])),
          startContainer: hook('startContainer', note('/out/hooks')),
        }
      })
      const lines = bundles.read('hooks').trim().split('\n')
      const stages = lines.map(line => line.slice(0, line.indexOf(' ')))
      expect(stages).toEqual([
        'prestart',
        'createRuntime',
        'createContainer',
        'startContainer',
        'poststart',
        'poststop',
      ])
      const states = lines.map(line => JSON.parse(line.slice(line.indexOf(' '))))
      expect(new Set(states.slice(0, 5).map(({ pid }) => pid)).size).toBe(1)
      expect(states[3]).toMatchObject({
        status: 'created',
        annotations: { 'org.example.made-by': 'a test' },
      })
      expect(states.at(-1)).toMatchObject({ status: 'stopped' })
    })

    test('that read a state of any size, or do not read it', async () => {
      const log = join(bundles.out, 'large-state')
      await bundles.run('true', config => {
        config.annotations = { 'org.example.made-by': 'x'.repeat(3_000_000) }
        config.hooks = {
          createContainer: hook('createContainer', `wc -c > ${log}`),
          startContainer: hook('startContainer', 'exit 0'),
        }
      })
      expect(Number(bundles.read('large-state'))).toBeGreaterThan(3_000_000)
    })

    test.each(['prestart', 'createRuntime', 'createContainer'])(
      'and is not created when one of %s fails',
      async stage => {
        const message = await fails(config => {
          config.hooks = { [stage]: hook(stage, 'exit 3') }
        })
        expect(message).toMatch(/hook ["]?\/bin\/sh.*it ended with 3/)
      },
    )

    test('and is not started when one of startContainer fails or takes too long', async () => {
      const bundle = bundles.write(config => {
        config.hooks = {
          startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'sleep 10'], timeout: 1 }],
        }
      })
      await bundles.create('slow', bundle)
      await expect(bundles.start('slow')).rejects.toThrow('connection timed out')
      await bundles.until('slow', 'stopped')
      await remove('slow')
    })

    test('and is stopped when one of poststart fails', async () => {
      await bundles.create(
        'failed-after',
        bundles.write(config => {
          forever(config)
          config.hooks = { poststart: hook('poststart', 'exit 4') }
        }),
      )
      await expect(bundles.start('failed-after')).rejects.toThrow('it ended with 4')
      expect(bundles.status('failed-after')).toBe('stopped')
      await remove('failed-after')
    })

    test('those of the end also when one that makes it has failed, and says what they say', async () => {
      const message = await fails(config => {
        config.hooks = {
          prestart: hook('prestart', 'exit 3'),
          poststop: [
            ...hook('poststop', `cat > ${join(bundles.out, 'poststop')}`),
            ...hook('poststop', 'exit 5'),
          ],
        }
      })
      expect(message).toMatch(/prestart hook .*it ended with 3; poststop hook .*it ended with 5/)
      expect(JSON.parse(bundles.read('poststop'))).toMatchObject({ status: 'stopped' })
    })
  })
})

function isZombie(pid: number): boolean {
  return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
}
