#!/bin/sh
// 2>/dev/null; exec node -- "$0" "$@"
// A shell reads the line above, Node does not: only with "--" does Node leave an --env-file that is
// meant for a container alone, and does not take NODE_OPTIONS for itself from it.
import { imageCommands } from './image/entries.ts'
import { runProgram } from './main.ts'
import { historyCommands } from './tsbuild/history/entries.ts'

void runProgram({
  name: 'tsbuild',
  summary: 'Builds container images from Dockerfiles, without a daemon.',
  examples: [
    'tsbuild -t app .',
    'tsbuild build -t registry.example.com/team/app:1.2 --push .',
    'tsbuild build --target test --progress plain .',
  ],
  commands: [
    {
      name: 'build',
      aliases: ['b', 'bud', 'builder build', 'image build'],
      summary: 'Build an image from a Dockerfile',
      group: 'Building',
      asRoot: true,
      load: async () => (await import('./tsbuild/build.ts')).buildCommand,
    },
    ...historyCommands,
    ...imageCommands,
  ],
  fallback: 'build',
  // A flag or a path: anything else is a command that was mistyped.
  isFallbackWord: word => /^[-./]/.test(word),
})
