/** What the tests build: several stages and every kind of step, over busybox. */
import { createHash, randomBytes } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Programs } from './programs.ts'

/**
 * Steps as long as they need to be to be killed in, no longer. What one leaves running in the
 * background ends with it, and would show for a minute if it did not.
 */
const dockerfile = (mark: string) => `
FROM busybox AS tools
ENV KILL_MARK=${mark}
WORKDIR /tools
RUN --mount=type=cache,id=kill,target=/cache,sharing=locked \\
    setsid sleep 60 & echo hit >> /cache/log; head -c 3000000 /dev/zero > zeros; sleep 0.05
FROM busybox AS app
ENV KILL_MARK=${mark}
COPY data /data
RUN setsid sleep 60 & md5sum /data/random > /sum; sleep 0.05
FROM busybox AS packed
ENV KILL_MARK=${mark}
COPY data /packed
FROM app
WORKDIR /work
COPY --from=tools /tools /opt/tools
RUN mkdir made && chmod 700 made && chown 12:34 made && ln -s made link
`

/** Makes the build context; its path. */
export function writeContext({ work, mark }: Pick<Programs, 'work' | 'mark'>): string {
  const context = join(work, 'context')
  mkdirSync(join(context, 'data/deep/er'), { recursive: true })
  writeFileSync(join(context, 'Dockerfile'), dockerfile(mark))
  writeFileSync(join(context, 'data/random'), randomBytes(4_000_000))
  writeFileSync(join(context, 'data/deep/er/file'), 'deep')
  return context
}

/** Everything about a directory's files but their times. */
export function contentsOf(directory: string, path = ''): string[] {
  return readdirSync(join(directory, path))
    .sort()
    .flatMap(name => {
      const inner = join(path, name)
      const full = join(directory, inner)
      const { mode, uid, gid } = lstatSync(full)
      const line = `${inner} ${mode.toString(8)} ${uid}:${gid}`
      const type = mode & 0o170000
      if (type === 0o040000) return [line, ...contentsOf(directory, inner)]
      if (type === 0o120000) return [`${line} -> ${readlinkSync(full)}`]
      return [`${line} ${createHash('sha256').update(readFileSync(full)).digest('hex')}`]
    })
}
