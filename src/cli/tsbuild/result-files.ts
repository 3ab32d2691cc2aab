/** `--iidfile` and `--metadata-file`, with the keys of buildx. */
import type { BuildEvent } from '../../builder/build-event.ts'
import type { Output } from '../../builder/export/output.ts'
import type { WrittenImage } from '../../builder/export/write-image.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { field } from '../../oci/json.ts'
import { formatReference } from '../../oci/reference.ts'
import { writeOutputFile } from '../output-file.ts'

type Warning = Extract<BuildEvent, { kind: 'warning' }>

export interface ResultFiles {
  readonly iidfile: string | undefined
  readonly metadataFile: string | undefined
  readonly outputs: readonly Output[]
  /** Of the caches that were written. */
  readonly caches: readonly Descriptor[]
  /** What was told; absent when nobody asked for it (BUILDX_METADATA_WARNINGS). */
  readonly warnings?: readonly Warning[]
}

/** Each file is replaced whole. `image`: absent when no output was one. */
export async function writeResultFiles(
  image: WrittenImage | undefined,
  { iidfile, metadataFile, outputs, caches, warnings }: ResultFiles,
): Promise<void> {
  if (iidfile !== undefined && image !== undefined) {
    await writeOutputFile(iidfile, [Buffer.from(image.id)])
  }
  if (metadataFile === undefined) return
  const names = new Set(
    outputs.flatMap(output => ('names' in output ? output.names.map(formatReference) : [])),
  )
  const metadata = {
    ...field('buildx.build.warnings', warnings?.map(warningJson)),
    ...(image === undefined ? {} : imageKeys(image)),
    ...field('cache.manifest', caches[0]),
    ...(names.size === 0 ? {} : { 'image.name': [...names].join(',') }),
  }
  const text = `${JSON.stringify(metadata, null, 2)}\n`
  await writeOutputFile(metadataFile, [Buffer.from(text)])
}

function imageKeys({ descriptor, manifests }: WrittenImage) {
  const [only] = manifests.length === 1 ? manifests : []
  return {
    ...field('containerimage.config.digest', only?.config.digest),
    'containerimage.descriptor': descriptor,
    'containerimage.digest': descriptor.digest,
  }
}

function warningJson({ id, message, check }: Warning) {
  const [start, end] = check?.lines ?? []
  return {
    ...field('vertex', id),
    level: 1,
    short: Buffer.from(message).toString('base64'),
    ...field('detail', check && [Buffer.from(check.detail).toString('base64')]),
    ...field('url', check?.url),
    ...(check === undefined ? {} : { range: [{ start: { line: start }, end: { line: end } }] }),
  }
}
