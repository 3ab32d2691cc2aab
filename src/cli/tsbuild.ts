#!/usr/bin/env node
import { imageCommands } from './image/entries.ts'
import { runProgram } from './main.ts'

await runProgram({
  name: 'tsbuild',
  summary: 'Builds container images from Dockerfiles, without a daemon.',
  examples: [
    'tsbuild build -t app .',
    'tsbuild build -t registry.example.com/team/app:1.2 --push .',
    'tsbuild build --target test --progress plain .',
  ],
  commands: [
    {
      name: 'build',
      aliases: ['b', 'bud', 'builder build', 'image build'],
      summary: 'Build an image from a Dockerfile',
      group: 'Building',
      load: async () => (await import('./tsbuild/build.ts')).buildCommand,
    },
    ...imageCommands,
  ],
})
