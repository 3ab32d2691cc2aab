/** The image commands, which `tsbuild` and `tsrun` share. */
import type { CommandEntry } from '../main.ts'

const group = 'Images'

export const imageCommands: readonly CommandEntry[] = [
  {
    name: 'images',
    aliases: ['image ls', 'image list'],
    summary: 'List images',
    group,
    load: async () => (await import('./images.ts')).imagesCommand,
  },
  {
    name: 'pull',
    aliases: ['image pull'],
    summary: 'Get an image from a registry, an archive or an OCI layout',
    group,
    load: async () => (await import('./pull.ts')).pullCommand,
  },
  {
    name: 'push',
    aliases: ['image push'],
    summary: 'Upload an image to a registry, or write it elsewhere',
    group,
    load: async () => (await import('./push.ts')).pushCommand,
  },
  {
    name: 'tag',
    aliases: ['image tag'],
    summary: 'Give an image another name',
    group,
    load: async () => (await import('./tag.ts')).tagCommand,
  },
  {
    name: 'rmi',
    aliases: ['image rm'],
    summary: 'Remove images',
    group,
    load: async () => (await import('./rmi.ts')).rmiCommand,
  },
  {
    name: 'inspect',
    aliases: ['image inspect'],
    summary: 'Show all about images, as JSON',
    group,
    load: async () => (await import('./inspect.ts')).inspectCommand,
  },
  {
    name: 'save',
    aliases: ['image save'],
    summary: 'Write images to an archive',
    group,
    load: async () => (await import('./save.ts')).saveCommand,
  },
  {
    name: 'load',
    aliases: ['image load'],
    summary: 'Read images from an archive or an OCI layout',
    group,
    load: async () => (await import('./load.ts')).loadCommand,
  },
  {
    name: 'import',
    aliases: ['image import'],
    summary: 'Make an image from the tar of a root filesystem',
    group,
    load: async () => (await import('./import.ts')).importCommand,
  },
  {
    name: 'unpack',
    aliases: ['image unpack'],
    summary: 'Write the files of an image into a directory',
    group,
    load: async () => (await import('./unpack.ts')).unpackCommand,
  },
  {
    name: 'mount',
    aliases: ['image mount'],
    summary: 'Show the files of an image in a directory',
    group,
    load: async () => (await import('./mount.ts')).mountCommand,
  },
  {
    name: 'umount',
    aliases: ['unmount', 'image umount', 'image unmount'],
    summary: 'End what mount began',
    group,
    load: async () => (await import('./mount.ts')).umountCommand,
  },
  {
    name: 'prune',
    aliases: ['image prune', 'builder prune', 'system prune'],
    summary: 'Free the space of what nothing uses any more',
    group,
    load: async () => (await import('./prune.ts')).pruneCommand,
  },
  {
    name: 'login',
    summary: 'Log in to a registry',
    group: 'Registries',
    load: async () => (await import('./login.ts')).loginCommand,
  },
  {
    name: 'logout',
    summary: 'Forget a login',
    group: 'Registries',
    load: async () => (await import('./logout.ts')).logoutCommand,
  },
]
