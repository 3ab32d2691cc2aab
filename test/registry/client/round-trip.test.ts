import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { memoryStore } from '../../../src/layerfs/content/memory-store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { pullImage } from '../../../src/registry/client/pull.ts'
import { pushImage } from '../../../src/registry/client/push.ts'
import { openAccess } from '../../../src/registry/server/access/access.ts'
import { listen } from '../../../src/registry/server/listen.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'
import { hasDockerRegistry, startDockerRegistry } from './docker-registry.ts'
import { amd64, makeIndex, referenceAt, testClient } from './images.ts'
import { type RunningRegistry, roundTripContract } from './round-trip.contract.ts'

const run = promisify(execFile)

async function startOwnRegistry(): Promise<RunningRegistry> {
  const listener = await listen({
    storage: createRegistryStorage(new MemoryObjectStore()),
    access: openAccess,
    onError: error => console.error(error),
    onRequest: () => {},
    host: '127.0.0.1',
    port: 0,
  })
  return {
    host: `127.0.0.1:${listener.port}`,
    [Symbol.asyncDispose]: () => listener.close(0),
  }
}

describe('with our own registry', () => {
  roundTripContract(startOwnRegistry)

  test('an image whose every digest is BLAKE3 is pulled by its digest', async () => {
    await using registry = await startOwnRegistry()
    await using client = testClient()
    const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } }
    const named = (bytes: string, mediaType: string) => {
      const digest = digestOf(bytes, 'blake3')
      return { bytes, descriptor: { mediaType, digest, size: bytes.length } }
    }
    const blob = named(JSON.stringify(config), mediaTypes.config)
    const document = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: blob.descriptor,
      layers: [],
    }
    const manifest = named(JSON.stringify(document), mediaTypes.manifest)
    const send = async (method: string, path: string, { bytes, descriptor }: typeof blob) => {
      const headers = { 'content-type': descriptor.mediaType }
      const url = `http://${registry.host}/v2/three/${path}`
      expect((await fetch(url, { method, headers, body: bytes })).status).toBe(201)
    }
    await send('POST', `blobs/uploads/?digest=${blob.descriptor.digest}`, blob)
    await send('PUT', `manifests/${manifest.descriptor.digest}`, manifest)
    const target = referenceAt(registry.host, `three@${manifest.descriptor.digest}`)
    const into = memoryStore()
    const pulled = await pullImage(client, target, { platform: amd64, into, layers: 'all' })
    expect(pulled.descriptor).toEqual(manifest.descriptor)
    expect(await into.find(blob.descriptor.digest)).toBeDefined()
  })

  const skopeo = '/usr/bin/skopeo'
  test.skipIf(!existsSync(skopeo))('skopeo reads what was pushed', async () => {
    await using registry = await startOwnRegistry()
    await using client = testClient()
    const { root, store } = await makeIndex()
    await pushImage(client, referenceAt(registry.host), { root, from: store })
    const name = `docker://${registry.host}/team/app:latest`
    const inspect = ['inspect', '--tls-verify=false', '--raw', name]
    const { stdout } = await run(skopeo, inspect, { encoding: 'buffer' })
    expect(stdout).toEqual(Buffer.from(await store.read(root.digest)))
    const config = ['inspect', '--tls-verify=false', '--config', '--override-arch=arm64', name]
    expect(JSON.parse((await run(skopeo, config)).stdout)).toMatchObject({ architecture: 'arm64' })
  })
})

const needs = hasDockerRegistry ? '' : ' (needs docker-registry)'

describe.skipIf(!hasDockerRegistry)(`with docker-registry${needs}`, () => {
  roundTripContract(startDockerRegistry)
})
