// Takes the lock on a file, says so, and waits to be killed.
const [dist, path] = process.argv.slice(2)
const { acquireLock } = await import(`${dist}/layerfs/content/file-lock.js`)
await acquireLock(path, 'exclusive')
console.log('held')
setInterval(() => {}, 1000)
