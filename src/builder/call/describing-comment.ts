/** What the comments above a stage or ARG say of it: the line that begins with its name. */
export function describingComment(comments: readonly string[], name: string): string | undefined {
  if (name === '') return undefined
  return comments.find(line => line.startsWith(`${name} `))?.slice(name.length + 1)
}
