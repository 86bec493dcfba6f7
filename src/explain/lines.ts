/** The lines of a log, one at a time: a file of any size is never in memory, and neither is a line without an end. */
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'

/** The longest access line that hopgate writes is near 100 KiB: a path of `max_header_size`, escaped. */
const LONGEST_LINE_BYTES = 1024 * 1024
const NEWLINE = 10

/** A log file; `.gz` ones, as logrotate leaves them, are unpacked on the way. */
export function openLog(file: string): Readable {
  const stream = createReadStream(file, { highWaterMark: 256 * 1024 })
  if (!file.endsWith('.gz')) return stream
  const unpacked = createGunzip()
  stream.on('error', error => unpacked.destroy(error))
  return stream.pipe(unpacked)
}

/**
 * Calls `line` with each line that is not empty; one that is too long is '' to it. Ends early when `line` gives false.
 * Rejects with the error of the stream.
 */
export async function eachLine(stream: Readable, line: (text: string) => boolean | undefined): Promise<void> {
  let rest: Buffer[] = []
  let restBytes = 0
  let overlong = false
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      const piece = chunk.subarray(from, end)
      const text = overlong ? '' : (rest.length === 0 ? piece : Buffer.concat([...rest, piece])).toString('utf8')
      const empty = !overlong && text === ''
      rest = []
      restBytes = 0
      overlong = false
      from = end + 1
      if (!empty && line(text) === false) return
    }
    if (from === chunk.length) continue
    restBytes += chunk.length - from
    overlong ||= restBytes > LONGEST_LINE_BYTES
    if (overlong) rest = []
    else rest.push(chunk.subarray(from))
  }
  if (restBytes > 0) line(overlong ? '' : Buffer.concat(rest).toString('utf8'))
}
