/** The HEALTHCHECK of an image, and what is told of it, beside Docker. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/requires.ts'
import { type DockerDaemon, startDocker } from './docker-daemon.ts'
import { openWorkspace, type Store } from './workspace.ts'

const dockerfile = `FROM busybox
SHELL ["/bin/ash", "-c"]
HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD echo "$0 asks"; test -e /tmp/ok
CMD ["sleep", "1000"]
`

const within = { timeout: 60_000, interval: 100 }

describeWith(['root', 'build', 'busybox', 'docker'], 'HEALTHCHECK', () => {
  const work = openWorkspace('health')
  let store: Store
  let daemon: DockerDaemon

  beforeAll(async () => {
    store = await work.storeWithBusybox('store')
    const context = work.write('checked', { Dockerfile: dockerfile })
    const archive = work.path('checked.tar')
    await store.tsbuild(['build', '-q', '-t', 'checked', context])
    await store.tsrun(['save', '-o', archive, 'checked'])
    daemon = await startDocker(work)
    await daemon.docker(['load', '-i', archive])
  })

  afterAll(async () => {
    await store.tsrun(['rm', '-f', 'one', 'none'])
    await daemon.docker(['rm', '-f', 'one', 'none'])
    await daemon.stop()
    await work.close()
  })

  /** What both say, once `isThere` of it. */
  async function bothOnce(command: readonly string[], isThere: (text: string) => boolean) {
    const asked = [store.tsrun, daemon.docker].map(async ask => {
      let text = ''
      const said = async () => {
        text = (await ask(command)).stdout
        return isThere(text)
      }
      await expect.poll(said, within).toBe(true)
      return text
    })
    const [ours = '', theirs = ''] = await Promise.all(asked)
    return { ours, theirs }
  }

  const both = (command: readonly string[]) => bothOnce(command, () => true)
  const health = ['inspect', '-f', '{{json .State.Health}}', 'one']

  /** Without what differs from probe to probe. */
  function shapeOf(text: string): unknown {
    const { Log, ...rest } = JSON.parse(text)
    const last = Log.at(-1)
    return { ...rest, last: { ...last, Start: typeof last.Start, End: typeof last.End } }
  }

  test('is told as Docker tells it: starting, unhealthy, healthy, paused, ended', async () => {
    await both(['run', '-d', '--network', 'none', '--name', 'one', 'checked'])
    const config = await both(['inspect', '-f', '{{json .Config.Healthcheck}}', 'one'])
    expect(JSON.parse(config.ours)).toMatchObject(JSON.parse(config.theirs))

    const failed = await bothOnce(health, text => JSON.parse(text).FailingStreak === 2)
    expect(shapeOf(failed.ours)).toEqual(shapeOf(failed.theirs))
    expect(JSON.parse(failed.ours)).toMatchObject({ Status: 'unhealthy', FailingStreak: 2 })
    const list = ['ps', '--filter', 'health=unhealthy', '--format', '{{.Names}} {{.Status}}']
    const shown = await both(list)
    for (const text of [shown.ours, shown.theirs]) {
      expect(text).toMatch(/^one Up .* \(unhealthy\)\n$/)
    }

    await both(['exec', 'one', 'touch', '/tmp/ok'])
    const healed = await bothOnce(health, text => JSON.parse(text).Status === 'healthy')
    expect(shapeOf(healed.ours)).toEqual(shapeOf(healed.theirs))

    await both(['pause', 'one'])
    const paused = await both(health)
    expect(JSON.parse(paused.ours).Status).toBe(JSON.parse(paused.theirs).Status)
    await both(['unpause', 'one'])
    await both(['stop', '-t', '0', 'one'])
    const ended = await both(health)
    expect(shapeOf(ended.ours)).toEqual(shapeOf(ended.theirs))
    const found = await both(['ps', '-a', '--filter', 'health=unhealthy', '--format', '{{.Names}}'])
    expect(found.ours).toBe(found.theirs)
  })

  test('--no-healthcheck is told as well', async () => {
    await both(['run', '-d', '--network', 'none', '--name', 'none', '--no-healthcheck', 'checked'])
    const config = await both(['inspect', '-f', '{{json .Config.Healthcheck}}', 'none'])
    expect(JSON.parse(config.ours)).toMatchObject(JSON.parse(config.theirs))
    for (const text of Object.values(await both(['inspect', '-f', '{{json .State}}', 'none']))) {
      expect(JSON.parse(text)).not.toHaveProperty('Health')
    }
    const found = await both(['ps', '--filter', 'health=none', '--format', '{{.Names}}'])
    expect(found.ours).toBe('none\n')
    expect(found.theirs).toBe('none\n')
  })
})
