// Makes one file of each program, and of each worker thread, out of the modules in dist/: reading
// and compiling two hundred of them was three quarters of the time of a short command (measured).
import { chmodSync, copyFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { rolldown } from 'rolldown'

/** Stay packages of their own: a server has time to load them, and a bucket is a rare cache. */
const servers = ['koa', '@koa/router', 'pino', 'prom-client', 'minio', 'jose', 'yaml', 'valibot']
export const programs = ['tsbuild', 'tsregistry', 'tsrun', 'tsrun-oci']
const workers = [
  'layerfs/layer/unpack-worker.js',
  'registry/server/access/compare-password-worker.js',
]

/** In dist/cli the programs alone are left; modules of the other folders stay, for tests. */
export async function bundle(dist, launcher) {
  const code = new Map()
  for (const name of programs) code.set(name, await bundled(dist, `cli/${name}.js`, 'cjs'))
  for (const path of workers) writeFileSync(join(dist, path), await bundled(dist, path, 'esm'))
  const folder = join(dist, 'cli')
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "commonjs" }\n')
  copyFileSync(launcher, join(folder, 'launcher.js'))
  for (const [name, text] of code) {
    const wrapped = `(function (exports, require, module, __filename, __dirname) {${text}\n})`
    writeFileSync(join(folder, `${name}.bundle.js`), wrapped)
    const program = join(folder, `${name}.js`)
    writeFileSync(program, `${firstLines}require('./launcher.js').launch('${name}')\n`)
    chmodSync(program, 0o755)
  }
}

/** As in src/cli/tsbuild.ts. */
const firstLines = '#!/bin/sh\n// 2>/dev/null; exec node -- "$0" "$@"\n'

async function bundled(dist, path, format) {
  const build = await rolldown({
    input: join(dist, path),
    platform: 'node',
    external: id => servers.some(name => id === name || id.startsWith(`${name}/`)),
    plugins: [keepPlaces(dist, path)],
    onLog: (level, log) => {
      if (level === 'warn' && log.code !== 'EVAL') console.error(`${path}: ${log.message}`)
    },
  })
  const { output } = await build.generate({ format, codeSplitting: false, comments: false })
  const code = output[0].code.replace(/^#!.*/, '').replace(/[\u0080-\uffff]/g, escaped)
  return format === 'cjs' ? slowOnes.reduce(loadedWhenUsed, withRequire(code)) : code
}

/** Code that V8 kept cannot import: what is loaded late, and is no part of the bundle, is required. */
function withRequire(code) {
  return code.replaceAll(/\bimport\(("[^"]+")\)/g, 'Promise.resolve().then(() => require($1))')
}

/** Of Node's own modules those that take milliseconds to load, which few commands need. */
const slowOnes = [
  'node_fs_promises',
  'node_http',
  'node_https',
  'node_module',
  'node_net',
  'node_tls',
  'node_dns',
  'node_zlib',
].concat('node_worker_threads', 'node_child_process')

/** Where the bundle begins with `let NAME = require("node:…")`, NAME becomes a property that loads. */
function loadedWhenUsed(code, name) {
  const line = new RegExp(
    `^let ${name} = (require\\("[^"]+"\\));(\n${name} = __toESM\\(${name}, 1\\);)?$`,
    'm',
  )
  const [text, required, asModule] = line.exec(code) ?? []
  if (text === undefined) return code
  const value = asModule === undefined ? required : `__toESM(${required}, 1)`
  const used = code.replace(text, '').replaceAll(new RegExp(`\\b${name}\\b`, 'g'), `${name}.it`)
  const getter = `get it() { const value = ${value}; Object.defineProperty(this, "it", { value }); return value; }`
  return `const ${name} = { ${getter} };\n${used}`
}

/** What a module finds beside itself is where it is without a bundle. */
function keepPlaces(dist, path) {
  return {
    name: 'keep-places',
    transform: (code, id) => {
      if (!id.startsWith(dist) || !code.includes('import.meta.url')) return undefined
      const place = JSON.stringify(relative(join(dist, path, '..'), id))
      return code.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`)
    },
  }
}

/** ASCII is read the fastest. */
function escaped(character) {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
