/**
 * Records docs/terminal.md: builds in a real terminal (tmux), as text.
 *
 *   node scripts/terminal-session.mjs             writes docs/terminal.md
 *   node scripts/terminal-session.mjs --check     compares it with what is there, times aside
 *
 * It needs root, tmux and a static busybox (Debian: apt-get install tmux busybox-static).
 */
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

const checkout = join(import.meta.dirname, '..')
const page = join(checkout, 'docs/terminal.md')
const directory = mkdtempSync('/tmp/tsbuild-terminal-')
const app = join(directory, 'app')
const socket = join(directory, 'tmux')

const dockerfile = `FROM scratch AS base
ADD base.tar /
FROM base
WORKDIR /app
COPY src src
ARG VERSION=1
RUN cat src/*.txt | wc -c > size
RUN echo "version $VERSION" > version
`

function prepare() {
  const root = join(directory, 'root')
  mkdirSync(join(root, 'bin'), { recursive: true })
  mkdirSync(join(app, 'src'), { recursive: true })
  mkdirSync(join(directory, 'bin'))
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
  for (const name of ['sh', 'cat', 'echo', 'wc', 'ls']) {
    symlinkSync('busybox', join(root, 'bin', name))
  }
  execFileSync('tar', ['-C', root, '-cf', join(app, 'base.tar'), '.'])
  writeFileSync(join(app, 'Dockerfile'), dockerfile)
  for (const name of ['one', 'two']) writeFileSync(join(app, 'src', `${name}.txt`), `${name}\n`)
  symlinkSync(join(checkout, 'dist/cli/tsbuild.js'), join(directory, 'bin/tsbuild'))
}

function tmux(...args) {
  return execFileSync('tmux', ['-S', socket, ...args], { encoding: 'utf8' })
}

let sessions = 0

/** What a terminal of that size shows after the commands, in the example's directory. */
function screen([columns, rows], commands) {
  const name = `session${sessions++}`
  const path = `${join(directory, 'bin')}:${process.env.PATH}`
  const environment = [`PATH=${path}`, 'TERM=tmux-256color', `TSBUILD_ROOT=${directory}/store`]
  const typed = commands.map(command => `printf '$ %s\\n' '${command}'; ${command}`)
  const script = [...typed, `tmux -S ${socket} wait-for -S ${name}`, 'sleep 600'].join('\n')
  const size = ['-x', String(columns), '-y', String(rows)]
  const shell = ['env', '-i', ...environment, 'sh', '-c', script]
  tmux('-f', '/dev/null', 'new-session', '-d', '-s', name, ...size, '-c', app, ...shell)
  tmux('wait-for', name)
  return tmux('capture-pane', '-p', '-t', name, '-S', '-').trimEnd()
}

function record() {
  prepare()
  const wide = [90, 60]
  const first = screen(wide, ['tsbuild -t app .'])
  writeFileSync(join(app, 'src/one.txt'), 'changed\n')
  const missed = screen(wide, ['tsbuild -t app .', 'tsbuild why'])
  const narrow = screen([40, 40], ['tsbuild -t app --build-arg VERSION=2 .'])
  writeFileSync(join(app, 'Dockerfile'), `${dockerfile}RUN cat src/three.txt\n`)
  const failed = screen(wide, ['tsbuild -t app --build-arg VERSION=2 .'])
  const block = text => `\`\`\`\n${text}\n\`\`\`\n`
  return `# In the terminal

Recorded in a real terminal by \`scripts/terminal-session.mjs\`; \`--check\` compares it with what the programs print now.

## A build

${block(first)}
## A miss explained

One file of the context changed. The step that reads it says so, and what follows says because of which step it runs.

${block(missed)}
## Forty columns

An ARG changed: every RUN below it runs, unless \`--run-args=named\` says that only those do that name it.

${block(narrow)}
## A failure

${block(failed)}`
}

/** Times, sizes and digests differ each time, and with them the blanks that line them up. */
function withoutNumbers(text) {
  return text
    .replace(/(Less than a second|\d+ seconds?) ago/g, 'AGO')
    .replace(/\d{8}-\d{6}-[0-9a-f]{5}/g, 'BUILD')
    .replace(/sha256:[0-9a-f]*/g, 'HEX')
    .replace(/\d+(\.\d+)?(s|B|kB|MB)?/g, 'N')
    .replace(/[ …]+/g, ' ')
}

try {
  const text = record()
  if (!process.argv.includes('--check')) writeFileSync(page, text)
  else if (withoutNumbers(text) !== withoutNumbers(readFileSync(page, 'utf8'))) {
    process.stderr.write(`docs/terminal.md is not what the terminal shows now:\n${text}`)
    process.exitCode = 1
  }
} finally {
  try {
    tmux('kill-server')
  } catch {}
  rmSync(directory, { recursive: true, force: true })
}
