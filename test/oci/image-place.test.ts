import { describe, expect, it } from 'vitest'
import { formatImagePlace, parseImagePlace } from '../../src/oci/image-place.ts'
import { parseReference } from '../../src/oci/reference.ts'

describe('parseImagePlace()', () => {
  it.each([
    'busybox',
    'busybox:1',
    'localhost:5000/a/b:1',
    'sha256:abc',
    `app@sha256:${'0'.repeat(64)}`,
    'docker:latest',
    'dirs:1',
  ])('leaves "%s" to the command', text => {
    expect(parseImagePlace(text)).toEqual({ kind: 'name', text })
  })

  it('knows a registry by docker://', () => {
    expect(parseImagePlace('docker://localhost:5000/app:1')).toEqual({
      kind: 'registry',
      reference: parseReference('localhost:5000/app:1'),
    })
    expect(parseImagePlace('docker://dir:latest')).toMatchObject({
      reference: parseReference('dir:latest'),
    })
  })

  it.each([
    ['oci:dir', { kind: 'oci', path: 'dir' }],
    ['oci:/a/b:1.2', { kind: 'oci', path: '/a/b', name: '1.2' }],
    ['oci:d:localhost:5000/app:1', { kind: 'oci', path: 'd', name: 'localhost:5000/app:1' }],
    ['oci-archive:./x.tar', { kind: 'oci-archive', path: './x.tar' }],
    ['oci-archive:x.tar:', { kind: 'oci-archive', path: 'x.tar' }],
    ['docker-archive:-', { kind: 'docker-archive', path: '-' }],
    ['docker-archive:x y.tar:app:1', { kind: 'docker-archive', path: 'x y.tar', name: 'app:1' }],
  ] as const)('takes "%s" apart as skopeo does', (text, place) => {
    expect(parseImagePlace(text)).toEqual(place)
  })

  it.each(['oci:', 'oci::tag', 'oci-archive::x', 'docker-archive:', 'oci:a\0b'])(
    'refuses "%s", which names no path',
    text => {
      expect(() => parseImagePlace(text)).toThrow(/names no path/)
    },
  )

  it.each([
    'dir:x',
    'containers-storage:app',
    'docker-daemon:app:1',
    'https://x.org/app',
    'oci2://x',
  ])('refuses the transport of "%s", and says which there are', text => {
    expect(() => parseImagePlace(text)).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        message: `Cannot use "${text}": no such transport`,
        hint: expect.stringMatching(/docker:\/\/NAME.*oci:.*oci-archive:.*docker-archive:/),
      }),
    )
  })

  it('refuses "docker://UPPER", quoting it', () => {
    expect(() => parseImagePlace('docker://x/UPPER')).toThrow(/"x\/UPPER"|UPPER/)
  })
})

describe('formatImagePlace()', () => {
  it.each(['oci:dir', 'oci-archive:f:a/b:1'])('gives "%s" back', text => {
    const place = parseImagePlace(text)
    expect('path' in place && formatImagePlace(place)).toBe(text)
  })
})
