// Loaded into a gateway's process by NODE_OPTIONS=--import: SIGUSR2 holds its event loop for a second, as a synchronous
// write, a long garbage collection or a large JSON.parse would. Says so on stderr, before and after.
import { writeSync } from 'node:fs'

const HELD_MS = 1000

process.on('SIGUSR2', () => {
  writeSync(2, 'held\n')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, HELD_MS)
  writeSync(2, 'released\n')
})
