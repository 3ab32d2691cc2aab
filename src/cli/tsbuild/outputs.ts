/** `--output`, `--push` and `--tag`: what becomes of the build. */
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Output, Sink } from '../../builder/export/output.ts'
import { parseReference, type Reference } from '../../oci/reference.ts'
import { usageError } from '../cli-error.ts'
import { writeOutputFile } from '../output-file.ts'
import type { BuildFlags } from './build-flags.ts'
import { parseSettings } from './key-values.ts'

const types = ['image', 'registry', 'oci', 'docker', 'local', 'tar', 'cacheonly'] as const
const keys = ['type', 'dest', 'name', 'push', 'tar'] as const

type Settings = ReadonlyMap<(typeof keys)[number], string>

/** Throws a usage error. Without any flag the image goes into the store. */
export function parseOutputs(
  { output, push, tag }: Pick<BuildFlags, 'output' | 'push' | 'tag'>,
  stdout: Writable & { readonly isTTY?: boolean },
): Output[] {
  const tags = tag.map(parseReference)
  const outputs = output.flatMap(text => parseOutput(text, tags, stdout))
  if (output.length === 0) outputs.push({ kind: 'image', names: tags })
  if (push) {
    if (tags.length === 0) throw usageError('Flag --push needs a name: give one with --tag')
    outputs.push({ kind: 'registry', names: tags })
  }
  return outputs
}

function parseOutput(
  text: string,
  tags: readonly Reference[],
  stdout: Writable & { readonly isTTY?: boolean },
): Output[] {
  const settings = outputSettings(text)
  const names = settings.get('name')?.split(',').map(parseReference) ?? tags
  const type = types.find(known => known === settings.get('type'))
  switch (type) {
    case 'image':
      return imageOutputs(settings, names)
    case 'registry':
      return [{ kind: 'registry', names: named(names, text) }]
    case 'oci':
    case 'docker':
      return [archiveOutput(type, settings, { names, stdout })]
    case 'local':
      return [{ kind: 'local', directory: destination(settings, 'local') }]
    case 'tar':
      return [{ kind: 'tar', sink: sinkFor(settings.get('dest') ?? '-', stdout) }]
    case 'cacheonly':
      return []
    default:
      throw usageError(
        `Cannot use flag --output "${text}": expected type=${types.join('|')}, got "${settings.get('type') ?? ''}"`,
      )
  }
}

/** A bare path is a directory, `-` a tar on standard output. */
function outputSettings(text: string): Settings {
  if (text === '-') return new Map([['type', 'tar']])
  if (!text.includes('=')) {
    return new Map([
      ['type', 'local'],
      ['dest', text],
    ])
  }
  return parseSettings('output', text, keys)
}

function imageOutputs(settings: Settings, names: readonly Reference[]): Output[] {
  const outputs: Output[] = [{ kind: 'image', names }]
  if (settings.get('push') === 'true') {
    outputs.push({ kind: 'registry', names: named(names, 'type=image,push=true') })
  }
  return outputs
}

function named(names: readonly Reference[], text: string): readonly Reference[] {
  if (names.length > 0) return names
  throw usageError(`Output "${text}" needs a name: give one with --tag`)
}

interface ArchiveTarget {
  readonly names: readonly Reference[]
  readonly stdout: Writable & { readonly isTTY?: boolean }
}

function archiveOutput(
  format: 'oci' | 'docker',
  settings: Settings,
  { names, stdout }: ArchiveTarget,
): Output {
  if (settings.get('tar') === 'false') {
    if (format === 'docker') throw usageError('Output type=docker is a tar: leave tar=false out')
    return { kind: 'layout', directory: destination(settings, format), names }
  }
  return { kind: 'archive', format, names, sink: sinkFor(settings.get('dest') ?? '-', stdout) }
}

function destination(settings: Settings, type: string): string {
  const dest = settings.get('dest')
  if (dest !== undefined && dest !== '' && dest !== '-') return dest
  throw usageError(`Output type=${type} needs a directory: dest=DIR`)
}

/** `-` is standard output. */
function sinkFor(dest: string, stdout: Writable & { readonly isTTY?: boolean }): Sink {
  if (dest === '-') {
    if (stdout.isTTY === true) {
      throw usageError('Refusing to write an archive to a terminal: give dest=FILE, or redirect')
    }
    return (chunks, signal) => pipeline(Readable.from(chunks), stdout, { signal, end: false })
  }
  return (chunks, signal) => writeOutputFile(dest, chunks, signal)
}
