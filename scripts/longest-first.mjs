// The order of test files: those that take longest begin first, so that none is left to the end alone.
import { BaseSequencer } from 'vitest/node'

/** Of those that take half a minute or more (measured), the longest first. */
const longest = [
  'test/e2e/applications',
  'test/registry/server/kill',
  'test/registry/storage/garbage/interleaving',
  'test/sandbox/build/differential',
  'test/e2e/registry-access',
  'test/e2e/s3-replicas',
  'test/e2e/kill-tsregistry',
  'test/registry/storage/s3/faults',
]

export class LongestFirst extends BaseSequencer {
  async sort(files) {
    const sorted = await super.sort(files)
    return sorted.sort((a, b) => placeOf(a) - placeOf(b))
  }
}

/** Groups come one after the other, whatever the order of their files. */
function placeOf({ moduleId }) {
  const place = longest.findIndex(name => moduleId.endsWith(`/${name}.test.ts`))
  return place === -1 ? longest.length : place
}
