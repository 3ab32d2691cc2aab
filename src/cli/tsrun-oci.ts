#!/bin/sh
// 2>/dev/null; exec node -- "$0" "$@"
// See tsrun.ts for the line above. A program of its own, since podman and containerd take a path.
import { exitCodes } from './cli-error.ts'
import { runRuntime } from './oci/runtime-program.ts'

process.exitCode = exitCodes.internal
void runRuntime(process.argv.slice(2)).then(code => process.exit(code))
