/** What a request does to its repository; `list` is of the registry, `none` of nothing. */
export type Action = 'none' | 'list' | 'pull' | 'push' | 'undo' | 'delete'
