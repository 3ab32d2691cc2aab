import { describe, expect, test } from 'vitest'
import { buildGraph } from '../../src/builder/build-graph.ts'
import { mergeGraphs } from '../../src/builder/merge-graphs.ts'
import { amd64, arm64, planAll } from './plan/planning.ts'

function graphOf(text: string, targetPlatform: typeof amd64 | typeof arm64) {
  const stages = planAll(text, { targetPlatform, isMultiPlatform: true })
  const graph = buildGraph({
    dockerfile: { file: 'Dockerfile', source: text },
    stages,
    imageOf: () => {
      throw new Error('no image is named')
    },
    mustRerun: () => false,
  })
  return { platform: `linux/${targetPlatform.architecture}`, graph }
}

const text = [
  'FROM --platform=$BUILDPLATFORM scratch AS common',
  'COPY a /a',
  'FROM scratch',
  'COPY --from=common /a /b',
  'ARG TARGETARCH',
  'COPY $TARGETARCH /c',
  'COPY d /d',
].join('\n')

describe('mergeGraphs()', () => {
  test('K13 leaves what is the same once, and keeps apart what differs and all above it', () => {
    const { nodes } = mergeGraphs([graphOf(text, amd64), graphOf(text, arm64)])
    expect(nodes.map(({ name }) => name)).toEqual([
      'FROM scratch',
      '[linux/amd64 common 1/1] COPY a /a',
      '[linux/amd64 stage-1 1/3] COPY --from=common /a /b',
      '[linux/amd64 stage-1 2/3] COPY amd64 /c',
      '[linux/amd64 stage-1 3/3] COPY d /d',
      '[linux/arm64 stage-1 2/3] COPY arm64 /c',
      '[linux/arm64 stage-1 3/3] COPY d /d',
    ])
  })

  test('every graph’s ends and steps are nodes of the whole, each input before its reader', () => {
    const { nodes, graphs } = mergeGraphs([graphOf(text, amd64), graphOf(text, arm64)])
    const ids = nodes.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [index, { inputs }] of nodes.entries()) {
      for (const input of inputs) expect(ids.slice(0, index)).toContain(input)
    }
    for (const { ends, stepNodes } of graphs) {
      for (const id of [...ends.values(), ...[...stepNodes.values()].flat()]) {
        if (id !== undefined) expect(ids).toContain(id)
      }
    }
    expect(graphs[0]?.ends.get(1)).not.toBe(graphs[1]?.ends.get(1))
    expect(graphs[0]?.ends.get(0)).toBe(graphs[1]?.ends.get(0))
  })

  test('ids can be names of files: sandboxes are called by them', () => {
    const { nodes } = mergeGraphs([graphOf(text, amd64), graphOf(text, arm64)])
    for (const { id } of nodes) expect(id).toMatch(/^[\w.:-]+$/)
  })

  test('one platform’s graph stays as it is', () => {
    const one = graphOf(text, amd64)
    expect(mergeGraphs([one])).toEqual({ nodes: one.graph.nodes, graphs: [one.graph] })
  })
})
