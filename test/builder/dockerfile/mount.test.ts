import { describe, expect, test } from 'vitest'
import { DockerfileError } from '../../../src/builder/dockerfile/error.ts'
import { type Mount, parseMount } from '../../../src/builder/dockerfile/mount.ts'

const asWritten = (value: string) => value
const parse = (text: string) => parseMount(text, asWritten)

describe('parseMount()', () => {
  const accepted: readonly (readonly [string, Partial<Mount>])[] = [
    ['target=/a', { type: 'bind', target: '/a', source: '', readOnly: true }],
    ['dst=/a', { target: '/a' }],
    ['destination=/a', { target: '/a' }],
    ['type=bind,src=b,target=/a', { source: 'b' }],
    ['TYPE=BIND,Source=B,target=/a', { type: 'bind', source: 'B' }],
    ['target=/a,rw', { readOnly: false }],
    ['target=/a,readwrite=true', { readOnly: false }],
    ['target=/a,rw=false', { readOnly: true }],
    ['target=/a,ro=0', { readOnly: false }],
    ['from=b,target=/a', { from: 'b' }],
    ['type=cache,target=/a', { type: 'cache', readOnly: false, id: '' }],
    ['type=cache,target=/a,ro', { readOnly: true }],
    ['type=cache,target=/a,id=x,sharing=LOCKED', { id: 'x', sharing: 'locked' }],
    ['type=cache,target=/a,mode=0755,uid=1,gid=2', { mode: 0o755, uid: 1, gid: 2 }],
    ['type=tmpfs,target=/a', { type: 'tmpfs', readOnly: false }],
    ['type=tmpfs,target=/a,size=64m', { size: 64 * 1024 * 1024 }],
    ['type=tmpfs,target=/a,size=1.5g', { size: 1.5 * 1024 ** 3 }],
    ['type=tmpfs,target=/a,size=100', { size: 100 }],
    ['type=secret,id=x', { type: 'secret', id: 'x', required: false, readOnly: true }],
    ['type=secret,id=x,required', { required: true }],
    ['type=secret,id=x,required=true,env=X', { required: true, env: 'X' }],
    ['type=secret,src=x', { source: 'x' }],
    ['type=ssh', { type: 'ssh', id: '' }],
    ['type=ssh,id=k,mode=0600,required=1', { id: 'k', mode: 0o600, required: true }],
    ['"target=/a,b",type=bind', { target: '/a,b' }],
    ['target=/a=b', { target: '/a=b' }],
  ]
  for (const [text, expected] of accepted) {
    test(`R07: ${text}`, () => expect(parse(text)).toMatchObject(expected))
  }

  test('V09: passes values through expansion', () => {
    const mount = parseMount('type=$T,target=/$X', value =>
      value.replace('$T', 'cache').replace('$X', 'c'),
    )
    expect(mount).toMatchObject({ type: 'cache', target: '/c' })
  })

  const refused: readonly (readonly [string, string])[] = [
    ['typ=tmpfs', "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)"],
    ['wildly=off', "unexpected key 'wildly' in 'wildly=off'"],
    ['bind-propagation=shared', "unexpected key 'bind-propagation' in 'bind-propagation=shared'"],
    ['constructor=x', "unexpected key 'constructor' in 'constructor=x'"],
    ['type=tmp', 'unsupported mount type "tmp" (did you mean tmpfs?)'],
    ['type=volume', 'unsupported mount type "volume"'],
    ['target', "invalid field 'target' must be a key=value pair"],
    ['target=/a,', "invalid field '' must be a key=value pair"],
    ['target=/a,ro=maybe', 'invalid value for ro: maybe'],
    ['target=/a,rw=maybe', 'invalid value for rw: maybe'],
    ['type=bind,target=/a,mode=0755', 'mode not allowed for "bind" type mounts'],
    ['type=tmpfs,target=/a,uid=1', 'uid not allowed for "tmpfs" type mounts'],
    ['target=/a,gid=1', 'gid not allowed for "bind" type mounts'],
    ['type=cache,target=/a,mode=8', 'invalid value 8 for mode'],
    ['type=cache,target=/a,uid=-1', 'invalid value -1 for uid'],
    ['type=cache,target=/a,gid=99999999999', 'invalid value 99999999999 for gid'],
    ['type=bind,target=/a,required', "unexpected key 'required' for mount type 'bind'"],
    ['type=cache,target=/a,required=true', "unexpected key 'required' for mount type 'cache'"],
    ['type=secret,id=a,required=x', 'invalid value for required: x'],
    ['type=cache,target=/a,size=1', "unexpected key 'size' for mount type 'cache'"],
    ['type=tmpfs,target=/a,size=much', 'invalid value for size: much'],
    [
      'type=cache,target=/a,sharing=shard',
      'unsupported sharing value "shard" (did you mean shared?)',
    ],
    ['target=/a,sharing=shared', 'invalid cache sharing set for bind mount'],
    ['type=secret', 'invalid secret mount. one of source, target required'],
    ['type=secret,id=a,from=b', 'secret mount should not have a from'],
    ['type=secret,id=a,sharing=shared', 'secret mount should not define sharing'],
    ['type=secret,id=a,src=b', "both source and id can't be set"],
  ]
  for (const [text, message] of refused) {
    test(`R08: refuses ${text}`, () =>
      expect(() => parse(text)).toThrow(new DockerfileError(message)))
  }
})
