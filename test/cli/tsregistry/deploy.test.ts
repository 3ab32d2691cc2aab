/** `deploy/`: each file by its own tool, and by what it says of the program. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { readConfig } from '../../../src/cli/tsregistry/config/read-config.ts'
import { readVariables } from '../../../src/cli/tsregistry/config/read-variables.ts'
import { createMetrics } from '../../../src/registry/server/operation/metrics.ts'
import { describeWith } from '../../support/requires.ts'

const deploy = join(import.meta.dirname, '../../../deploy')
const chart = join(deploy, 'helm/tsregistry')
const folder = mkdtempSync(join(tmpdir(), 'tsregistry-deploy-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (command: string, ...args: readonly string[]) =>
  spawnSync(command, args, { encoding: 'utf8', timeout: 20_000 })

interface Manifest {
  readonly kind: string
  readonly data: Readonly<Record<string, string>>
  readonly spec: unknown
}

describe('deploy/compose/compose.yaml', () => {
  const compose = ['docker-compose', 'docker compose'].find(
    command => run('sh', '-c', `${command} version`).status === 0,
  )
  it.skipIf(compose === undefined)('is understood by docker compose', () => {
    const file = join(deploy, 'compose/compose.yaml')
    expect(run('sh', '-c', `${compose} -f ${file} config --quiet`)).toMatchObject({ status: 0 })
  })
})

interface Compose {
  readonly services: { readonly registry: { readonly environment: Record<string, string> } }
}

describe('deploy/compose.yaml', () => {
  it('sets variables that are keys, beside a config.yml that can be used', () => {
    const { services }: Compose = parse(readFileSync(join(deploy, 'compose.yaml'), 'utf8'))
    const { settings, unknown } = readVariables(services.registry.environment)
    expect(unknown).toEqual([])
    expect(settings).toHaveLength(3)
  })
})

describe('deploy/grafana-dashboard.json', () => {
  it('asks for metrics that there are', async () => {
    const text = readFileSync(join(deploy, 'grafana-dashboard.json'), 'utf8')
    const asked: readonly string[] = text.match(/\b(ts)?registry_\w+|\b(process|nodejs)_\w+/g) ?? []
    const served = await createMetrics('1').render()
    const names = new Set(Array.from(served.matchAll(/^# TYPE (\S+)/gm), ([, name]) => name))
    expect(asked.length).toBeGreaterThan(8)
    expect(asked.filter(name => !names.has(name.replace(/_bucket$/, '')))).toEqual([])
    // All that is counted of upstreams is shown.
    const ofUpstreams = [...names].filter(name => name?.includes('registry_proxy_'))
    expect(ofUpstreams).toHaveLength(7)
    expect(ofUpstreams.filter(name => !asked.includes(`${name}`))).toEqual([])
  })

  it('has panels beside each other, each with a number of its own', () => {
    const text = readFileSync(join(deploy, 'grafana-dashboard.json'), 'utf8')
    const { panels } = JSON.parse(text) as {
      panels: { id: number; gridPos: { x: number; y: number } }[]
    }
    const places = panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)
    expect(new Set(places).size).toBe(panels.length)
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  })
})

describeWith(['systemdAnalyze'], 'deploy/tsregistry.service', () => {
  it('is a unit that systemd understands', () => {
    const unit = join(folder, 'tsregistry.service')
    writeFileSync(unit, readFileSync(join(deploy, 'tsregistry.service')))
    expect(run('systemd-analyze', 'verify', unit)).toMatchObject({ status: 0, stderr: '' })
  })
})

describeWith(['helm'], 'deploy/helm/tsregistry', () => {
  it('passes helm lint, and its config.yml can be used', () => {
    expect(run('helm', 'lint', '--strict', chart)).toMatchObject({ status: 0 })
    const sets = ['secrets.htpasswd=x', 'tlsSecretName=t', 'secrets.s3.accessKey=k']
    const shown = run('helm', 'template', 'r', chart, '--set', sets.join(','))
    expect(shown).toMatchObject({ status: 0, stderr: '' })
    const manifests = parseAllDocuments(shown.stdout).map(each => each.toJS() as Manifest)
    expect(manifests.map(({ kind }) => kind).toSorted()).toEqual([
      'ConfigMap',
      'Deployment',
      'PersistentVolumeClaim',
      'Secret',
      'Service',
    ])
    const config = manifests.find(({ kind }) => kind === 'ConfigMap')?.data['config.yml'] ?? ''
    expect(readConfig('config.yml', config).length).toBeGreaterThan(3)
    const variables = shown.stdout.match(/REGISTRY_\w+/g) ?? []
    const values = Object.fromEntries(variables.map(name => [name, 'x']))
    expect(readVariables(values)).toMatchObject({ unknown: [], settings: { length: 5 } })
  })

  it('runs three replicas over a bucket with values-s3.yaml', () => {
    const values = join(deploy, 'helm/values-s3.yaml')
    expect(run('helm', 'lint', '--strict', '-f', values, chart)).toMatchObject({ status: 0 })
    const shown = run('helm', 'template', 'r', chart, '-f', values)
    expect(shown).toMatchObject({ status: 0, stderr: '' })
    const manifests = parseAllDocuments(shown.stdout).map(each => each.toJS() as Manifest)
    expect(manifests.map(({ kind }) => kind).toSorted()).toEqual([
      'ConfigMap',
      'Deployment',
      'PodDisruptionBudget',
      'Secret',
      'Service',
      'ServiceAccount',
    ])
    const of = (wanted: string) => manifests.find(({ kind }) => kind === wanted)
    const pods = { containers: [{ args: ['serve', '/etc/tsregistry/config.yml'] }] }
    expect(of('Deployment')?.spec).toMatchObject({ replicas: 3, template: { spec: pods } })
    const settings = readConfig('config.yml', of('ConfigMap')?.data['config.yml'] ?? '')
    const paths = settings.map(({ key }) => key.path)
    expect(paths).toContain('storage.s3.bucket')
    expect(paths.filter(path => path.startsWith('storage.filesystem'))).toEqual([])
  })

  it('refuses values that it does not know', () => {
    const { status, stderr } = run('helm', 'template', 'r', chart, '--set', 'replicas=2')
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/replicas/)
  })

  it('refuses several replicas of one volume', () => {
    const { status, stderr } = run('helm', 'template', 'r', chart, '--set', 'replicaCount=2')
    expect(status).not.toBe(0)
    expect(stderr).toMatch(/replicaCount above 1 needs a bucket/)
  })
})
