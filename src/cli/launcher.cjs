/**
 * Starts a program that the build made one file of, with the code that V8 made of it then: of the
 * time from `node` to the first useful line, reading two hundred modules and compiling them was
 * three quarters (measured).
 *
 * V8 refuses code that another version of it made, and the program is compiled as ever.
 */
'use strict'
const { readFileSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { Script } = require('node:vm')

/** The program's exports; what runs is up to it. */
exports.launch = name => start(load(name))

/** As `launch`, and keeps the code of every function that has run until the process ends. */
exports.launchAndKeepCode = name => {
  const loaded = load(name)
  process.on('exit', () => writeFileSync(loaded.codeFile, loaded.script.createCachedData()))
  return start(loaded)
}

function load(name) {
  const filename = join(__dirname, `${name}.bundle.js`)
  const codeFile = `${filename}.code`
  // The build leaves ASCII alone in it, which is read and kept as it is.
  const source = readFileSync(filename, 'latin1')
  const cachedData = readCode(codeFile)
  const script = new Script(source, { filename, cachedData })
  return { filename, codeFile, script }
}

function start({ filename, script }) {
  const module = { exports: {} }
  const run = script.runInThisContext()
  // What it requires is found from here: it lies beside this file.
  run(module.exports, require, module, filename, __dirname)
  return module.exports
}

/** There is none before the program has run for the first time. */
function readCode(file) {
  try {
    return readFileSync(file)
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}
