/** Where our builds differ from BuildKit's, by name of the case, and why. */

/** BuildKit itself did it otherwise in 2022. */
const then = 'newer BuildKit does as we do'

/** From the BuildKit in Debian's dockerd 20.10. */
export const knownDifferences: Readonly<Record<string, string>> = {
  'add-archive-chown': then,
  'add-archive-link-through':
    'a link in an archive leads to what the image has there, not to nothing',
  'arg-empty-default': then,
  'arg-redeclared': then,
  'arg-several-see-earlier': then,
  'arg-stage-inherits': then,
  'copy-chmod': then,
  'copy-chmod-bad': then,
  'copy-chown-unknown': 'files that belong to root by mistake are worse than a failure (C16)',
  'copy-chown-unknown-group': 'files that belong to root by mistake are worse than a failure (C16)',
  'copy-double-star': then,
  'copy-fifo': then,
  'copy-several-without-slash': 'several sources go into a directory, not over each other (C06)',
  'copy-wildcard-bad': then,
  'copy-wildcard-deep': then,
  'copy-wildcard-two-match-no-slash': 'several files go into a directory, not over each other',
  'exp-defaults': then,
  'exp-plus-without-colon': then,
  'ignore-double-star-negated': then,
  'onbuild-uses-stage': then,
  'run-leaves-no-stubs': 'there is an /etc/hostname while a step runs',
  'run-mount-bind-stage': 'the stage has no mount points left in it',
  'run-network-none': then,
  'run-stdin': 'standard input is /dev/null, not a closed pipe (R02)',
  'stage-copy-dir-with-links': then,
  'stage-copy-variable': 'variables that the file itself defines are known (V10)',
  'stage-target-number': '--target takes a number too, as documented (F08)',
}

/** From the BuildKit of today. */
export const knownNewest: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(knownDifferences).filter(([, reason]) => reason !== then)),
  'add-tar-contiguous': 'a contiguous file is a file (POSIX)',
  'add-tar-dots': 'an archive says what its own top directory is like, as tar(1) has it',
  'add-tar-replaces-file': 'what comes later in an archive takes the place of what came before',
  'run-xattr': 'BuildKit keeps file capabilities and no other attributes',
  'add-tar-xattr': 'BuildKit keeps file capabilities and no other attributes',
  'context-named-from': 'what is based on a directory says so in its history',
  'copy-chown-big': 'BuildKit takes 4294967294 for 0',
  'copy-chown-half': 'a user without group has the group of the image’s passwd',
  'copy-chown-negative': 'a user that the image lacks is refused (C16)',
  'copy-chown-three': 'a group that the image lacks is refused (C16)',
  'exclude-link-outside': 'a link that leads outside is not needed when it is copied as a link',
  'exp-replace-empty': 'a pattern without replacement is removed, as in bash',
  'from-stage-upper': 'names of stages are the same in any case, also for FROM (F02)',
  'heredoc-copy-several-no-slash': 'several files go into a directory, not over each other (C06)',
  'heredoc-copy-slash-name':
    'directories in the name of a heredoc are made, as those of every file',
  'ignore-negation-parent': 'the last pattern that matches decides, as documented',
  'parents-link-source': 'a link among the parents is followed, as without --parents',
  'parents-root': 'the context itself can be copied',
}
