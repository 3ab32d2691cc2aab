/** `tsregistry copy` as operators run it who come from distribution. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { describeWith } from '../../support/requires.ts'

const program = join(import.meta.dirname, '../../../dist/cli/tsregistry.js')
const folder = mkdtempSync(join(tmpdir(), 'tsregistry-copy-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(...args: readonly string[]) {
  const options = { encoding: 'utf8', timeout: 20_000 } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], options)
  return { status, stdout, stderr }
}

/** An index without manifests, tagged, and a link whose bytes are others. */
function theirs(name: string): string {
  const root = join(folder, name)
  const write = (path: string, bytes: string) => {
    const file = join(root, 'docker/registry/v2', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, bytes)
  }
  const index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
  const hex = createHash('sha256').update(index).digest('hex')
  const wrong = '0'.repeat(64)
  write(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, index)
  write(`blobs/sha256/00/${wrong}/data`, 'rotten')
  write(`repositories/app/_manifests/revisions/sha256/${hex}/link`, `sha256:${hex}`)
  write('repositories/app/_manifests/tags/1/current/link', `sha256:${hex}`)
  write(`repositories/app/_layers/sha256/${wrong}/link`, `sha256:${wrong}`)
  return root
}

describeWith(['build'], 'tsregistry copy --from distribution:', () => {
  it('copies what is whole, names what is not, and fails for it; serving comes after', () => {
    const root = theirs('one')
    const refused = run('serve', '--addr', '127.0.0.1:0', '--root', root)
    expect(refused.status).toBe(1)
    expect(refused.stderr).toContain(`tsregistry copy --from distribution:${root}`)
    const copied = run('copy', '--from', `distribution:${root}`, '--to', `filesystem:${root}`, '-q')
    expect(copied).toMatchObject({ status: 1, stderr: '' })
    expect(copied.stdout).toMatch(
      /^damaged app blob sha256:0+: its bytes are others than its digest says\nCopied 0 blobs \(.*\), 1 manifests, 1 tags; 1 damaged at the source\n$/,
    )
    const history = run('tags', 'history', 'app:1', '--root', root)
    expect(history.status).toBe(0)
  })

  it('refuses a folder with nothing of distribution’s, and to store as distribution does', () => {
    const empty = join(folder, 'empty')
    mkdirSync(empty)
    const place = `filesystem:${join(folder, 'new')}`
    const nothing = run('copy', '--from', `distribution:${empty}`, '--to', place)
    expect(nothing.status).toBe(1)
    expect(nothing.stderr).toMatch(/expected "docker\/registry\/v2\/" in it/)
    const there = run('copy', '--from', place, '--to', `distribution:${empty}`)
    expect(there.status).toBe(125)
    expect(there.stderr).toMatch(/brought over first/)
  })
})

describeWith(['build'], 'a place that is none', () => {
  const none = join(folder, 'none')

  it.each([
    ['garbage-collect', '--root', none],
    ['scrub', '--root', none],
    ['tags', 'history', 'app:1', '--root', none],
    ['copy', '--from', `filesystem:${none}`, '--to', `filesystem:${join(folder, 'to')}`],
  ])('is refused by %s, and not made', (...args) => {
    const { status, stdout, stderr } = run(...args)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toContain(`ERROR: Cannot find a registry in "${none}"\n`)
    expect(existsSync(none)).toBe(false)
  })

  it('is refused by serve where nothing can be made', () => {
    const { status, stderr } = run('serve', '--addr', '127.0.0.1:0', '--root', '/proc/none')
    expect(status).toBe(1)
    expect(stderr).toContain('Cannot make directory "/proc/none"')
  })

  it('is refused as where a copy of the same folder goes', () => {
    const refused = run('copy', '--from', `filesystem:${none}`, '--to', `filesystem:${none}/`)
    expect(refused.status).toBe(125)
    expect(refused.stderr).toContain('to itself')
  })

  it('tells a tag that is not there from one that never changed', () => {
    const root = theirs('tags')
    run('copy', '--from', `distribution:${root}`, '--to', `filesystem:${root}`, '-q')
    expect(run('tags', 'history', 'app:1', '--root', root).status).toBe(0)
    const refused = run('tags', 'history', 'app:2', '--root', root)
    expect(refused).toMatchObject({
      status: 1,
      stderr: 'ERROR: Cannot find tag "app:2", nor what it was\n',
    })
  })
})

describeWith(['build', 'root'], 'a folder of somebody else’s', () => {
  it('is not served as if one could push to it', () => {
    const root = mkdtempSync(join(tmpdir(), 'tsregistry-theirs-'))
    try {
      chmodSync(root, 0o755)
      expect(run('scrub', '--root', made(root)).status).toBe(0)
      const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', process.execPath]
      const args = [...nobody, program, 'serve', '--addr', '127.0.0.1:0', '--root', root]
      const refused = spawnSync('setpriv', args, { encoding: 'utf8', timeout: 20_000 })
      expect(refused.status).toBe(1)
      expect(refused.stderr).toBe(
        `ERROR: Cannot store in "${root}": permission denied (EACCES)\nServe what is there with --read-only, or as the user who owns it\n`,
      )
    } finally {
      rmSync(root, { recursive: true })
    }
  })
})

/** A registry in which nothing is yet. */
function made(root: string): string {
  for (const name of ['objects', 'temporary', 'locks']) mkdirSync(join(root, name))
  return root
}
