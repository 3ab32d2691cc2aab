/** Images by the places that skopeo knows: written by us and read by skopeo, and the other way. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Compiled, compileSources } from '../support/compiled.ts'
import { describeWith } from '../support/requires.ts'

let compiled: Compiled
let root: string
let archive: string

beforeAll(() => {
  compiled = compileSources()
  root = mkdtempSync('/tmp/places-')
  mkdirSync(join(root, 'rootfs/etc'), { recursive: true })
  writeFileSync(join(root, 'rootfs/etc/motd'), 'hello\n')
  archive = join(root, 'rootfs.tar')
  spawnSync('tar', ['-C', join(root, 'rootfs'), '-cf', archive, '.'])
})

afterAll(() => {
  rmSync(root, { recursive: true, force: true })
  compiled[Symbol.dispose]()
})

/** A store of its own, with a directory for files beside it. */
function machine(name: string) {
  const home = join(root, name)
  mkdirSync(home, { recursive: true })
  const env = { PATH: '/usr/bin:/bin', HOME: home, TSBUILD_ROOT: join(home, 'store') }
  const run = (...args: string[]) => {
    const program = join(compiled.dist, 'cli/tsrun.js')
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--', program, ...args], {
      env,
      cwd: home,
      encoding: 'utf8',
    })
    return { status, stdout, stderr }
  }
  const works = (...args: string[]) => {
    const finished = run(...args)
    expect(finished).toMatchObject({ status: 0, stderr: '' })
    return finished.stdout
  }
  return { home, run, works }
}

describe('places', () => {
  test.each(['oci:there', 'oci-archive:there.tar', 'docker-archive:there.tar'])(
    'push to %s and pull from it, under another name and under its own',
    place => {
      const { home, works, run } = machine(`push-${place.replace(/\W/g, '-')}`)
      const id = works('import', archive, 'app:1').trim()
      expect(works('push', 'app:1', `${place}:other:2`)).toBe(`${place}:other:2\n`)
      works('rmi', 'app:1')
      expect(run('inspect', 'app:1').status).toBe(1)
      const named = place.startsWith('docker')
      const pulled = works('pull', '-q', `${place}:other:2`).trim()
      // A name in a layout need be no reference: only docker's archive gives the image a name.
      expect(pulled).toMatch(named ? /^docker.io\/library\/other:2$/ : /other:2$|^sha256:/)
      const { stdout } = run('images', '-q', '--no-trunc')
      expect(stdout.trim()).toBe(id)
      expect(existsSync(join(home, 'there')) || existsSync(join(home, 'there.tar'))).toBe(true)
    },
  )

  test('an open layout keeps its other images, and a name in it is replaced', () => {
    const { home, works, run } = machine('layout')
    works('import', archive, 'one')
    writeFileSync(join(root, 'rootfs/etc/motd'), 'other\n')
    spawnSync('tar', ['-C', join(root, 'rootfs'), '-cf', join(home, 'two.tar'), '.'])
    works('import', join(home, 'two.tar'), 'two')
    works('save', '-o', 'oci:layout:a', 'one')
    works('save', '-o', 'oci:layout:b', 'two')
    works('save', '-o', 'oci:layout:a', 'two')
    const index = JSON.parse(readFileSync(join(home, 'layout/index.json'), 'utf8'))
    expect(
      index.manifests.map((each: { annotations: object }) => Object.values(each.annotations)),
    ).toEqual([['b'], ['a']])
    works('save', '-o', 'oci:layout:c', 'one')
    const several = run('pull', 'oci:layout')
    expect(several.status).toBe(1)
    expect(several.stderr).toBe(
      'ERROR: Cannot read "oci:layout": it has 2 images\nName one: b, a, c\n',
    )
    const none = run('pull', 'oci:layout:d')
    expect(none.stderr).toBe('ERROR: Cannot find an image in "oci:layout:d"\nIt has b, a, c\n')
    expect(run('save', '-o', 'oci:layout:x', 'one', 'two').stderr).toContain('several images')
    expect(works('load', '-i', 'oci:layout:c')).toMatch(/^Loaded image/)
  })

  test('what is no place is refused, and the places are named', () => {
    const { run } = machine('none')
    for (const words of [['pull'], ['push', 'app'], ['load', '-i'], ['save', 'app', '-o']]) {
      const { status, stderr } = run(...words, 'containers-storage:app')
      expect(status).toBe(1)
      expect(stderr).toContain('Cannot use "containers-storage:app": no such transport')
      expect(stderr).toContain('docker-archive:FILE[:NAME]')
    }
    expect(run('save', 'app', '-o', 'docker://app').status).toBe(125)
    expect(run('save', 'app', '-o', 'oci:x', '--format', 'oci-dir').status).toBe(125)
    expect(run('pull', 'oci:nothing-there').stderr).toContain('no OCI layout')
    expect(run('pull', 'oci-archive:nothing-there').stderr).toContain('ENOENT')
  })
})

describeWith(['skopeo'], 'places and skopeo', () => {
  const skopeo = (cwd: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      'skopeo',
      ['--insecure-policy', '--tmpdir', cwd, ...args],
      { cwd, encoding: 'utf8', env: { PATH: '/usr/bin:/bin', HOME: cwd } },
    )
    expect(stderr).toBe('')
    expect(status).toBe(0)
    return stdout
  }

  test.each(['oci:ours:tag', 'oci-archive:ours.tar:tag', 'docker-archive:ours.tar:ours/app:1'])(
    'skopeo reads %s of ours, and we what it copies that to',
    place => {
      const { home, works } = machine(`skopeo-${place.replace(/\W/g, '-')}`)
      const id = works('import', archive, 'app').trim()
      works('push', 'app', place)
      const manifest = JSON.parse(skopeo(home, 'inspect', '--raw', place))
      expect(manifest.config.digest).toBe(id)
      for (const copy of [
        'oci:copy:x/y:1',
        'oci-archive:copy.tar:x/y:1',
        'docker-archive:c2.tar:x/y:1',
      ]) {
        skopeo(home, 'copy', '-q', place, copy)
        const other = machine(`${place}-${copy}`.replace(/\W/g, '-'))
        const [transport = '', file = '', ...name] = copy.split(':')
        const there = [transport, join(home, file), ...name].join(':')
        expect(other.works('pull', '-q', there)).toBe('docker.io/x/y:1\n')
        // From docker's formats to OCI's, skopeo writes the config anew.
        const read = other.works('images', '-q', '--no-trunc').trim()
        if (!place.startsWith('docker')) expect(read).toBe(id)
      }
    },
  )
})
