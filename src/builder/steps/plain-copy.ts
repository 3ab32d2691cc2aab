import type { CopyStep } from '../plan/step.ts'

/** The COPY of `path` to the same path that no Dockerfile says: a context becomes a filesystem. */
export function plainCopy({
  path,
  ...given
}: Pick<CopyStep, 'from' | 'span' | 'displayName'> & { readonly path: string }): CopyStep {
  return {
    ...given,
    kind: 'copy',
    add: false,
    sources: [{ kind: 'path', path: path.replace(/[\\*?[]/g, '\\$&'), pivot: '/' }],
    dest: path,
    link: false,
    parents: false,
    exclude: [],
    historyText: '',
    fromTrigger: false,
    comments: [],
  }
}
