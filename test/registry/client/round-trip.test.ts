import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { pushImage } from '../../../src/registry/client/push.ts'
import { openAccess } from '../../../src/registry/server/access/access.ts'
import { listen } from '../../../src/registry/server/listen.ts'
import { MemoryObjectStore } from '../../../src/registry/storage/memory.ts'
import { createRegistryStorage } from '../../../src/registry/storage/registry-storage.ts'
import { hasDockerRegistry, startDockerRegistry } from './docker-registry.ts'
import { makeIndex, referenceAt, testClient } from './images.ts'
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
