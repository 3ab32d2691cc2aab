import { describe, expect, it } from 'vitest'
import { parseContextName, parseNamedContext } from '../../../src/builder/sources/context-name.ts'

describe('parseContextName()', () => {
  it.each(['.', 'dir', '/abs/x.git', 'http', './-', 'a@b', 'github.comic/x'])(
    'X02 takes %j for a directory',
    path => {
      expect(parseContextName(path)).toEqual({ kind: 'directory', path })
    },
  )

  it('X02 takes - for standard input', () => {
    expect(parseContextName('-')).toEqual({ kind: 'stdin' })
  })

  it.each([
    ['https://h/a.git', { remote: 'https://h/a.git' }],
    ['https://h/a.git#v1:sub', { remote: 'https://h/a.git', ref: 'v1', subdir: 'sub' }],
    ['git@h:a/b.git#:sub', { remote: 'git@h:a/b.git', subdir: 'sub' }],
    ['ssh://git@h/a', { remote: 'ssh://git@h/a' }],
    ['github.com/a/b', { remote: 'https://github.com/a/b.git' }],
    ['github.com/a/b.git#v1', { remote: 'https://github.com/a/b.git', ref: 'v1' }],
    ['github.com/a/b?branch=x', { remote: 'https://github.com/a/b.git', ref: 'refs/heads/x' }],
    ['file:///srv/a.git#v1', { remote: 'file:///srv/a.git', ref: 'v1' }],
  ])('X02 takes %j for a repository', (text, source) => {
    expect(parseContextName(text)).toEqual({ kind: 'git', source })
  })

  it.each(['http://h/x.tar.gz', 'https://h/Dockerfile', 'https://h/a.git.tgz'])(
    'X02 takes %j for a URL',
    url => {
      expect(parseContextName(url)).toEqual({ kind: 'url', url })
    },
  )

  it('X02 refuses a repository whose options contradict', () => {
    expect(() => parseContextName('https://h/a.git?tag=a&branch=b')).toThrow('branch conflicts')
  })
})

describe('parseNamedContext()', () => {
  it('F11 takes images in their full form', () => {
    expect(parseNamedContext('docker-image://alpine:3')).toEqual({
      kind: 'image',
      reference: 'docker.io/library/alpine:3',
    })
    expect(() => parseNamedContext('docker-image://UPPER')).toThrow('UPPER')
  })

  const digest = `sha256:${'a'.repeat(64)}`
  it.each([
    ['oci-layout:///l', { directory: '/l' }],
    ['oci-layout://l:v1', { directory: 'l', version: 'v1' }],
    [`oci-layout:///a:b/l@${digest}`, { directory: '/a:b/l', version: digest }],
    ['oci-layout:///a:b/l', { directory: '/a:b/l' }],
  ])('F11 takes %j for a layout', (text, layout) => {
    expect(parseNamedContext(text)).toEqual({ kind: 'oci-layout', ...layout })
  })

  it('F11 takes what a build context may be, but standard input', () => {
    expect(parseNamedContext('../lib')).toEqual({ kind: 'directory', path: '../lib' })
    expect(parseNamedContext('https://h/a.git').kind).toBe('git')
    expect(() => parseNamedContext('-')).toThrow('has no name')
    expect(() => parseNamedContext('target:base')).toThrow('bake')
  })
})
