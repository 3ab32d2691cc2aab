#!/bin/sh
// 2>/dev/null; exec node -- "$0" "$@"
// See tsrun.ts for the line above. A program of its own, since podman and containerd take a path.
import { runRuntime } from './oci/runtime-program.ts'

process.exit(await runRuntime(process.argv.slice(2)))
