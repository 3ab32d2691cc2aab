#!/usr/bin/env node
/** tsregistry: an OCI registry over a folder or a bucket. */
import { runProgram } from './main.ts'

void runProgram({
  name: 'tsregistry',
  summary:
    'An OCI registry: container images and artifacts over HTTP, stored in a folder or a bucket',
  examples: [
    'tsregistry serve',
    'tsregistry serve --addr 0.0.0.0:5000 --root /srv/registry',
    'docker push localhost:5000/app:1',
  ],
  commands: [
    {
      name: 'serve',
      summary: 'Serve the registry until stopped',
      load: async () => (await import('./tsregistry/serve.ts')).serveCommand,
    },
    {
      name: 'config',
      summary: 'Check a config.yml, or print its schema',
      load: async () => (await import('./tsregistry/config.ts')).configCommand,
    },
    {
      name: 'garbage-collect',
      summary: 'Remove what no manifest and no tag needs any more',
      load: async () => (await import('./tsregistry/garbage-collect.ts')).garbageCollectCommand,
    },
    {
      name: 'scrub',
      summary: 'Read everything stored and find what is damaged',
      load: async () => (await import('./tsregistry/scrub.ts')).scrubCommand,
    },
    {
      name: 'copy',
      summary: 'Copy everything from one storage to another',
      load: async () => (await import('./tsregistry/copy.ts')).copyCommand,
    },
    {
      name: 'robot',
      summary: 'Make, list and revoke keys for machines',
      load: async () => (await import('./tsregistry/robot.ts')).robotCommand,
    },
    {
      name: 'tags',
      summary: 'Show what a tag pointed at, or set it back',
      load: async () => (await import('./tsregistry/tags.ts')).tagsCommand,
    },
  ],
})
