/** Real repositories, and a web server that gives them out through git's own CGI program. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import { openWebServer, type WebServer } from './web-server.ts'

const { PATH } = process.env

/** Apart from the configuration of who runs the tests. */
const environment = {
  PATH,
  HOME: '/nonexistent',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.com',
  GIT_AUTHOR_DATE: '1000000000 +0000',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.com',
  GIT_COMMITTER_DATE: '1000000000 +0000',
}

export function git(directory: string, ...args: readonly string[]): string {
  const allow = ['-c', 'protocol.file.allow=always', '-c', 'init.defaultBranch=main']
  return execFileSync('git', [...allow, ...args], {
    cwd: directory,
    env: environment,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}

/** A new repository with one commit; returns the commit. */
export function makeRepository(
  directory: string,
  files: Readonly<Record<string, string>> = {},
): string {
  mkdirSync(directory, { recursive: true })
  git(directory, 'init', '--quiet')
  return commitFiles(directory, files)
}

export function commitFiles(directory: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text)
  }
  git(directory, 'add', '--all')
  git(directory, 'commit', '--quiet', '--allow-empty', '--message', 'change')
  return git(directory, 'rev-parse', 'HEAD')
}

/** `<url>/NAME.git` is the repository `<root>/NAME`. */
export async function openGitServer(root: string): Promise<WebServer> {
  const server = await openWebServer()
  server.routes.get = path => {
    const [, name, rest] = /^\/([^/]+)\.git(\/.*)$/.exec(path) ?? []
    if (name === undefined || rest === undefined) return undefined
    return (request, response) => backend(request, response, `${join(root, name)}/.git${rest}`)
  }
  return server
}

function backend(request: IncomingMessage, response: ServerResponse, path: string): void {
  const { searchParams } = new URL(request.url ?? '', 'http://host')
  const child = spawn('git', ['http-backend'], {
    env: {
      ...environment,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_TRANSLATED: path,
      REQUEST_METHOD: request.method,
      QUERY_STRING: searchParams.toString(),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  request.pipe(child.stdin)
  child.stdin.on('error', () => {})
  const output: Buffer[] = []
  child.stdout.on('data', chunk => output.push(chunk))
  child.on('close', () => answer(Buffer.concat(output), response))
}

/** CGI: headers, an empty line, the body. */
function answer(output: Buffer, response: ServerResponse): void {
  const end = output.indexOf('\r\n\r\n')
  let status = 200
  for (const line of output.subarray(0, end).toString().split('\r\n')) {
    const [name = '', value = ''] = line.split(/: (.*)/)
    if (name === 'Status') status = Number.parseInt(value, 10)
    else response.setHeader(name, value)
  }
  response.writeHead(status).end(output.subarray(end + 4))
}
