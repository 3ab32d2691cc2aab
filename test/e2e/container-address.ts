import { readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Started } from './process.ts'

/**
 * The address of a container that `tsrun` runs with the bridge network: /proc shows the routes of
 * its processes to everybody. Rejects when there is none in ten seconds.
 */
export async function containerAddress({ child }: Started): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    for (const id of descendantsOf(child.pid ?? 0)) {
      const address = addressOf(id)
      if (address !== undefined) return address
    }
    await delay(100)
  }
  throw new Error('The container has no address')
}

function descendantsOf(id: number): number[] {
  const children = ofProcess(() => readFileSync(`/proc/${id}/task/${id}/children`, 'utf8'))
  return children
    .split(' ')
    .filter(Boolean)
    .flatMap(child => [...descendantsOf(Number(child)), Number(child)])
}

/** Nothing for a process in the network of the host. */
function addressOf(id: number): string | undefined {
  const namespace = ofProcess(() => readlinkSync(`/proc/${id}/ns/net`))
  if (namespace === readlinkSync('/proc/self/ns/net')) return undefined
  const routes = ofProcess(() => readFileSync(`/proc/${id}/net/fib_trie`, 'utf8'))
  const addresses = [...routes.matchAll(/\|-- ([\d.]+)\n\s+\/32 host LOCAL/g)]
  return addresses.map(([, address]) => address).find(address => !address?.startsWith('127.'))
}

/** It may end at any moment. */
function ofProcess(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}
