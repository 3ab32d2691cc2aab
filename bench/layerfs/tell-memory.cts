/** `node --require`d by a program: its last line says what its peak was, in KiB. */
process.on('exit', () => process.stdout.write(`peak ${process.resourceUsage().maxRSS}\n`))
