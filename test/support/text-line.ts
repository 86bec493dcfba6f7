import type { Line } from '../../src/observe/line-buffer.ts'

/** A line whose text is known. */
export function textLine(text: string): Line {
  return {
    mostBytes: Buffer.byteLength(text),
    writeTo: (bytes, at) => at + bytes.write(text, at),
    toString: () => text,
  }
}
