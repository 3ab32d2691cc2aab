/** Without root, in a cgroup of version 2 that was delegated, as systemd delegates a session's. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cgroupHierarchies } from '../../src/layerfs/sandbox/cgroup-hierarchies.ts'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith } from '../support/requires.ts'
import { type Box, makeBox } from './box.ts'

const user = 4000
const { PATH = '' } = process.env
const { v2 = '' } = cgroupHierarchies()
const delegated = join(v2, `tsrun-delegated-${process.pid}`)

describe.skipIf(v2 === '')('a delegated cgroup', () => {
  describeWith(['root', 'busybox', 'users'], 'of a user', () => {
    let compiled: Compiled
    let box: Box

    beforeAll(() => {
      compiled = compileSources()
      box = makeBox()
      for (const path of [box.directory, join(compiled.dist, '..')]) chmodSync(path, 0o755)
      mkdirSync(join(box.directory, 'home'))
      chownSync(join(box.directory, 'home'), user, user)
      // What the kernel's manual has delegated: the directory and three of its files.
      for (const path of [delegated, join(delegated, 'session')]) {
        mkdirSync(path)
        for (const name of ['.', 'cgroup.procs', 'cgroup.threads', 'cgroup.subtree_control']) {
          chownSync(join(path, name), user, user)
        }
      }
      const archive = join(box.directory, 'rootfs.tar')
      spawnSync('tar', ['-C', box.layer, '-cf', archive, '.'])
      expect(asUser(`tsrun import ${archive} bb`)).toMatchObject({ status: 0 })
    }, 60_000)

    afterAll(() => {
      asUser('tsrun rm -f $(tsrun ps -aq)')
      for (const path of [join(delegated, 'session'), join(delegated, 'tsbuild'), delegated]) {
        if (existsSync(path)) rmdirSync(path)
      }
      box[Symbol.dispose]()
      compiled[Symbol.dispose]()
    })

    function asUser(script: string, place = 'session') {
      const ids = ['--reuid', `${user}`, '--regid', `${user}`, '--clear-groups']
      const define = `tsrun() { sh ${compiled.dist}/cli/tsrun.js "$@"; }\n`
      const enter = `echo $$ > ${join(delegated, place)}/cgroup.procs && exec "$@"`
      const { status, stdout, stderr } = spawnSync(
        'sh',
        ['-c', enter, 'sh', 'setpriv', ...ids, 'sh', '-c', define + script],
        {
          encoding: 'utf8',
          env: { PATH, HOME: join(box.directory, 'home') },
          cwd: join(box.directory, 'home'),
          timeout: 30_000,
        },
      )
      return { status, stdout, stderr }
    }
    const flags = '--network none'

    test('holds each container in one of its own, which goes with it', () => {
      const { stdout } = asUser(
        `tsrun -d ${flags} --name one bb sleep 1000 > /dev/null
         cat /proc/$(tsrun inspect -f '{{.State.Pid}}' one)/cgroup
         tsrun exec one true; echo $?; tsrun rm -f one`,
      )
      expect(stdout).toMatch(
        new RegExp(`^0::/tsrun-delegated-${process.pid}/tsbuild/[0-9a-f]{64}\\.`, 'm'),
      )
      expect(stdout).toMatch(/\n0\none\n$/)
      const left = readdirSync(join(delegated, 'tsbuild'), { withFileTypes: true })
      expect(left.filter(entry => entry.isDirectory())).toEqual([])
    })

    test('pauses and counts them', () => {
      const { stdout, stderr } = asUser(
        `tsrun -d ${flags} --name two bb sh -c 'while :; do :; done' > /dev/null
         tsrun stats --no-stream --format '{{.CPUPerc}}' two
         tsrun pause two; tsrun ps --format '{{.State}}'; tsrun unpause two; tsrun rm -f two`,
      )
      expect(stderr).not.toContain('ERROR')
      expect(stdout).toMatch(/^(?!0\.00)\d+\.\d\d%\ntwo\npaused\ntwo\ntwo\n$/)
    })

    const controllers = readFileSync(join(v2, 'cgroup.controllers'), 'utf8')

    test.skipIf(!controllers.includes('pids'))('limits them', () => {
      const { stdout } = asUser(`tsrun --rm ${flags} --pids-limit 7 bb cat /sys/fs/cgroup/pids.max`)
      expect(stdout).toBe('7\n')
    })

    test.skipIf(controllers.includes('memory'))('says which limit it has no controller for', () => {
      expect(asUser(`tsrun --rm ${flags} -m 64m bb true`)).toMatchObject({
        status: 125,
        stderr: expect.stringContaining('no cgroup controller "memory"'),
      })
    })

    test('is not looked for above what is the user’s', () => {
      // In a cgroup of root's, below which nothing may be made, containers have none.
      const { stdout } = asUser(
        `tsrun -d ${flags} --name three bb sleep 1000 > /dev/null
         cat /proc/$(tsrun inspect -f '{{.State.Pid}}' three)/cgroup; tsrun pause three
         tsrun rm -f three`,
        '..',
      )
      expect(stdout).not.toContain('/tsbuild/')
    })
  })
})
