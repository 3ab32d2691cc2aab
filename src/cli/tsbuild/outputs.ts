/** `--output`, `--push`, `--load` and `--tag`: what becomes of the build. */
import { resolve } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Annotation, ImageOptions } from '../../builder/export/image-options.ts'
import type { ImageOutput, Output, Sink } from '../../builder/export/output.ts'
import { printable } from '../../oci/errors.ts'
import { parseReference, type Reference } from '../../oci/reference.ts'
import { usageError } from '../cli-error.ts'
import type { EnvironmentLookup } from '../flags/flags.ts'
import { assertDirectory, assertWritable, writeOutputFile } from '../output-file.ts'
import type { BuildFlags } from './build-flags.ts'
import { engineFrom } from './engine.ts'
import {
  imageOptionKeys,
  parseAnnotation,
  parseAnnotationField,
  parseImageOptions,
  switchOf,
} from './image-options.ts'
import { settingsFrom, splitFields } from './key-values.ts'

const types = ['image', 'registry', 'oci', 'docker', 'local', 'tar', 'cacheonly'] as const
const keys = [
  'type',
  'dest',
  'name',
  'push',
  'push-by-digest',
  'tar',
  'platform-split',
  ...imageOptionKeys,
] as const

type Settings = ReadonlyMap<(typeof keys)[number], string>

export interface OutputPlace {
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly lookup: EnvironmentLookup
}

type OutputFlags = Pick<BuildFlags, 'output' | 'push' | 'load' | 'tag' | 'annotation'>

interface Defaults {
  readonly tags: readonly Reference[]
  readonly annotations: readonly Annotation[]
  readonly files: Files
}

/** What opens the files that outputs go to. */
type Files = (dest: string) => Sink

/**
 * Throws a usage error, and `invalid` for a place that nothing can be written to: it would be a pity
 * after a long build. Without any flag the image goes into the store.
 */
export function parseOutputs(flags: OutputFlags, { stdout, lookup }: OutputPlace): Output[] {
  const tags = flags.tag.map(parseReference)
  const annotations = flags.annotation.flatMap(parseAnnotation)
  const texts = flags.output.length === 0 && !flags.load ? ['type=image'] : flags.output
  const files = openFiles(stdout)
  const outputs = texts.flatMap(text => parseOutput(text, { tags, annotations, files }))
  const options = outputs.find(isImage)?.options ?? parseImageOptions(new Map(), annotations)
  if (flags.push) {
    if (tags.length === 0) throw usageError('Flag --push needs a name: give one with --tag')
    outputs.push({ kind: 'registry', names: tags, byDigest: false, options })
  }
  if (flags.load) {
    outputs.push({ kind: 'engine', ...engineFrom(lookup), names: tags, options })
  }
  if (annotations.length > 0 && !outputs.some(isImage)) {
    throw usageError('Flag --annotation is about an image, and no output is one')
  }
  return outputs
}

function isImage(output: Output): output is ImageOutput {
  return 'options' in output
}

function parseOutput(text: string, { tags, annotations, files }: Defaults): Output[] {
  const { settings, annotations: own } = outputSettings(text)
  const names = settings.get('name')?.split(',').map(parseReference) ?? tags
  const options = parseImageOptions(settings, [...annotations, ...own])
  const platformSplit = switchOf(settings, 'platform-split', false)
  const type = types.find(known => known === settings.get('type'))
  switch (type) {
    case 'image':
    case 'registry':
      return imageOutputs(type, settings, { names, options, text })
    case 'oci':
    case 'docker':
      return [archiveOutput(type, settings, { names, options, files })]
    case 'local':
      return [{ kind: 'local', directory: destination(settings, 'local'), platformSplit }]
    case 'tar': {
      return [{ kind: 'tar', sink: files(settings.get('dest') ?? '-'), platformSplit }]
    }
    case 'cacheonly':
      return []
    default:
      throw usageError(
        `Cannot use flag --output "${text}": expected type=${types.join('|')}, got "${settings.get('type') ?? ''}"`,
      )
  }
}

/** A bare path is a directory, `-` a tar on standard output. */
function outputSettings(text: string): {
  readonly settings: Settings
  readonly annotations: readonly Annotation[]
} {
  if (text === '-') return { settings: new Map([['type', 'tar']]), annotations: [] }
  if (!text.includes('=')) {
    const local = [
      ['type', 'local'],
      ['dest', text],
    ] as const
    return { settings: new Map(local), annotations: [] }
  }
  const fields = splitFields(text)
  const rest = fields.filter(one => parseAnnotationField(one) === undefined)
  return {
    settings: settingsFrom(rest, keys, `flag --output "${text}"`),
    annotations: fields.flatMap(one => parseAnnotationField(one) ?? []),
  }
}

interface ImageWords {
  readonly names: readonly Reference[]
  readonly options: ImageOptions
  readonly text: string
}

function imageOutputs(
  type: 'image' | 'registry',
  settings: Settings,
  { names, options, text }: ImageWords,
): Output[] {
  const byDigest = switchOf(settings, 'push-by-digest', false)
  const isPushed = switchOf(settings, 'push', type === 'registry')
  if (byDigest) refuseTags(settings)
  const image: Output = { kind: 'image', names: byDigest ? [] : names, options }
  if (!isPushed) return [image]
  if (names.length === 0) throw usageError(`Output "${text}" needs a name: give one with --tag`)
  const pushed: Output = { kind: 'registry', names, byDigest, options }
  return type === 'registry' ? [pushed] : [image, pushed]
}

/** A name's tag would not be set, whatever the user thinks. */
function refuseTags(settings: Settings): void {
  const tagged = settings
    .get('name')
    ?.split(',')
    .find(name => /:[^/]*$/.test(name))
  if (tagged !== undefined) throw usageError(`can't push tagged ref ${tagged} by digest`)
}

function archiveOutput(
  format: 'oci' | 'docker',
  settings: Settings,
  { names, options, files }: Omit<ImageWords, 'text'> & Pick<Defaults, 'files'>,
): Output {
  if (!switchOf(settings, 'tar', true)) {
    if (format === 'docker') throw usageError('Output type=docker is a tar: leave tar=false out')
    return { kind: 'layout', directory: destination(settings, format), names, options }
  }
  const sink = files(settings.get('dest') ?? '-')
  return { kind: 'archive', format, names, options, sink }
}

function destination(settings: Settings, type: string): string {
  const dest = settings.get('dest')
  if (dest === undefined || dest === '' || dest === '-') {
    throw usageError(`Output type=${type} needs a directory: dest=DIR`)
  }
  assertDirectory(dest)
  return dest
}

/** One file takes one output: of two, the later would replace the earlier, or follow it in a pipe. */
function openFiles(stdout: OutputPlace['stdout']): Files {
  const taken = new Set<string>()
  return dest => {
    const place = dest === '-' ? dest : resolve(dest)
    if (taken.has(place)) {
      const where = dest === '-' ? 'standard output' : `"${printable(dest)}"`
      throw usageError(`Cannot write two outputs to ${where}: give each a dest of its own`)
    }
    taken.add(place)
    return sinkFor(dest, stdout)
  }
}

/** `-` is standard output. */
function sinkFor(dest: string, stdout: OutputPlace['stdout']): Sink {
  if (dest === '-') {
    if (stdout.isTTY === true) {
      throw usageError('Refusing to write an archive to a terminal: give dest=FILE, or redirect')
    }
    return (chunks, signal) => pipeline(Readable.from(chunks), stdout, { signal, end: false })
  }
  assertWritable(dest)
  return (chunks, signal) => writeOutputFile(dest, chunks, signal)
}
