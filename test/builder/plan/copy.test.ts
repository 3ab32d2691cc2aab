// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles
import { describe, expect, test } from 'vitest'
import { lastStep, planFailure } from './planning.ts'

const copy = (text: string) => lastStep('copy', `FROM a\n${text}`)
const paths = (text: string) =>
  copy(text).sources.map(source => (source.kind === 'path' ? source.path : source.kind))
const refusal = (text: string) => planFailure(`FROM a\n${text}`).message

describe('COPY', () => {
  test('C03: sources are rooted, .. cannot escape', () => {
    expect(paths('COPY a ./b /c ../../d e/../f g/. . /x/')).toEqual([
      '/a',
      '/b',
      '/c',
      '/d',
      '/f',
      '/g',
      '/',
    ])
  })

  test('C08: wildcards stay', () => {
    expect(paths('COPY a*/[b] c\\* /x/')).toEqual(['/a*/[b]', '/c*'])
  })

  test.each([
    ['COPY a b', '/w/b'],
    ['COPY a /b', '/b'],
    ['COPY a .', '/w/'],
    ['COPY a ./', '/w/'],
    ['COPY a b/', '/w/b/'],
    ['COPY a /b/.', '/b/'],
    ['COPY a ../../../b', '/b'],
    ['COPY a /', '/'],
    ['COPY a /x//y/../z', '/x/z'],
  ])('C05, C06: %s goes to %s', (text, dest) => {
    expect(copy(`WORKDIR /w\n${text}`).dest).toBe(dest)
  })

  test('C06: without WORKDIR the root', () => {
    expect(copy('COPY a .').dest).toBe('/')
  })

  test('V09: paths and flags are expanded, V10: --exclude too, keeping its escapes', () => {
    const step = copy(
      'ARG X=1\nCOPY --chown=$X:$X --chmod=75$X --exclude=$X --exclude=\\\\*.md a$X /$X/',
    )
    expect(step).toMatchObject({
      chown: '1:1',
      chmod: { kind: 'octal', mode: 0o751 },
      exclude: ['1', String.raw`\*.md`],
      dest: '/1/',
    })
  })

  test('C22: quotes group in JSON form and are removed otherwise', () => {
    expect(paths('COPY ["a b", "/x/"]')).toEqual(['/a b'])
    expect(paths("COPY 'a' /x/")).toEqual(['/a'])
  })

  test('H04: a heredoc is a file; its body is expanded, quotes kept', () => {
    const step = copy('ARG X=1\nCOPY <<A <<"B" /x/\n"$X" \\$X\nA\n$X\nB')
    expect(step.sources).toEqual([
      { kind: 'heredoc', file: { path: 'A', content: '"1" $X\n' } },
      { kind: 'heredoc', file: { path: 'B', content: '$X\n' } },
    ])
  })

  test('C19: --parents keeps what is after the pivot', () => {
    const { sources, parents } = copy('COPY --parents a/./b/c d e/')
    expect(parents).toBe(true)
    expect(sources).toEqual([
      { kind: 'path', path: '/a/b/c', pivot: '/a' },
      { kind: 'path', path: '/d', pivot: '/' },
    ])
  })

  test('C20: --link with a name cannot work', () => {
    expect(refusal('COPY --link --chown=bob a b')).toBe(
      "--chown=bob: user and group names can't be resolved when used with --link, use numeric uid[:gid] instead",
    )
    expect(copy('COPY --link --chown=1:2 a b').link).toBe(true)
    expect(copy('COPY --link --chown=root:root a b').chown).toBe('0:0')
  })

  test('C17: refuses modes that are none', () => {
    expect(refusal('COPY --chmod=64a a b')).toBe(
      "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777",
    )
    expect(refusal('COPY --chmod=77777 a b')).toContain('between 0 and 07777')
    expect(refusal('COPY --chmod=u!x a b')).toBe("invalid chmod parameter: 'u!x'")
  })

  test('C02: refuses URLs and repositories', () => {
    expect(refusal('COPY http://a/b /c')).toBe("source can't be a URL for COPY")
    expect(refusal('COPY https://a/b.git /c')).toBe("source can't be a git ref for COPY")
    expect(refusal('COPY git@a:b /c')).toBe("source can't be a git ref for COPY")
  })

  test('O03: history tells flags that matter, sources and destination as written', () => {
    const text = 'ARG D=/d\nCOPY --from=x --link --chown=1 --chmod=644 a b $D\n'
    expect(copy(text).historyText).toBe('COPY --chown=1 --chmod=644 a b /d # buildkit')
    expect(copy('COPY --parents <<E f /g/\nE').historyText).toBe(
      'COPY --parents f <<E /g/ # buildkit',
    )
  })
})

describe('ADD', () => {
  test('C26: a URL, named after its last element', () => {
    const names = copy(
      'ADD https://a/b/c.tgz?x#y https://a https://a/b%20c http://a/.. /d/',
    ).sources
    expect(names.map(source => source.kind === 'url' && source.name)).toEqual([
      'c.tgz',
      '__unnamed__',
      'b c',
      '__unnamed__',
    ])
  })

  test('C27: a checksum is for one URL or repository', () => {
    const digest = `sha256:${'0'.repeat(64)}`
    expect(copy(`ADD --checksum=${digest} https://a/b /c`).checksum).toBe(digest)
    expect(copy('ADD --checksum=abc https://a/b.git /c').checksum).toBe('abc')
    expect(refusal(`ADD --checksum=${digest} a /c`)).toBe(
      'checksum requires HTTP(S) or Git sources',
    )
    expect(refusal(`ADD --checksum=${digest} https://a https://b /c`)).toBe(
      "checksum can't be specified for multiple sources",
    )
    expect(refusal('ADD --checksum=abc https://a/b /c')).toBe('invalid checksum digest format')
    expect(refusal('ADD --checksum=md5:00 https://a/b /c')).toBe('unsupported digest algorithm')
    expect(refusal('ADD --checksum=sha256:00 https://a/b /c')).toBe(
      'invalid checksum digest length',
    )
  })

  test('C24: --unpack is kept apart from not saying', () => {
    expect(copy('ADD a.tar /b').unpack).toBeUndefined()
    expect(copy('ADD --unpack=false a.tar /b').unpack).toBe(false)
    expect(copy('ADD --unpack a.tar /b').unpack).toBe(true)
  })

  const repositories: readonly (readonly [string, object])[] = [
    ['https://h/r.git', { remote: 'https://h/r.git' }],
    ['https://h/r.git#v1:sub/dir', { ref: 'v1', subdir: 'sub/dir' }],
    ['https://h/r.git#:../sub', { subdir: 'sub' }],
    ['git@h:r#main', { remote: 'git@h:r', ref: 'main' }],
    ['ssh://git@h/r', { remote: 'ssh://git@h/r' }],
    ['git://h/r', { remote: 'git://h/r' }],
    ['https://h/r.git?tag=v1', { ref: 'refs/tags/v1' }],
    ['https://h/r.git?branch=b&subdir=s', { ref: 'refs/heads/b', subdir: 's' }],
    [
      'https://h/r.git?ref=x&commit=abc&submodules=false&keep-git-dir&lfs=true',
      { ref: 'x', checksum: 'abc', submodules: false, keepGitDir: true, lfs: true },
    ],
    ['https://h/r.git?mtime=commit&fetch-by-commit=1', { mtime: 'commit', fetchByCommit: true }],
  ]
  for (const [text, expected] of repositories) {
    test(`C29: ${text}`, () => {
      expect(copy(`ADD ${text} /x/`).sources).toMatchObject([{ kind: 'git', ...expected }])
    })
  }

  test.each([
    ['https://h/r.git?ref=a#b', 'ref conflicts: "b" vs "a"'],
    ['https://h/r.git?tag=a&branch=b', 'branch conflicts with tag'],
    ['https://h/r.git?ref=a&ref=b', 'query "ref" has multiple values'],
    ['https://h/r.git?ref=', 'query "ref" has no value'],
    ['https://h/r.git?submodules=x', 'invalid submodules value: "x"'],
    ['https://h/r.git?mtime=x', 'invalid mtime value: "x" (must be "checkout" or "commit")'],
    ['https://h/r.git?depth=1', 'unexpected query "depth"'],
  ])('C29: refuses %s', (text, message) => {
    expect(refusal(`ADD ${text} /x/`)).toBe(message)
  })

  test('C29: flag and URL must agree', () => {
    expect(refusal('ADD --keep-git-dir=false https://h/r.git?keep-git-dir=true /x')).toBe(
      'inconsistent keep-git-dir configuration',
    )
    expect(refusal('ADD --checksum=a https://h/r.git?checksum=b /x')).toBe(
      'checksum mismatch "a" != "b"',
    )
  })

  test('a path that only looks like one is a path', () => {
    expect(paths('ADD github.com/a/b x@y ./git@h:r /x/')).toEqual([
      '/github.com/a/b',
      '/x@y',
      '/git@h:r',
    ])
  })
})
