/** Small WebSocket frames (RFC 6455 section 5.2), whole in what was read: all that the kit says and has to understand. */
import { createHash } from 'node:crypto'

export const TEXT = 0x1
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xa

const MASK = Buffer.from([1, 2, 3, 4])

export interface Frame {
  readonly opcode: number
  readonly payload: Buffer
}

/** @param payload up to 125 bytes. @param masked as a client must, and a server must not */
export function frame(opcode: number, payload: Buffer, masked: boolean): Buffer {
  const head = Buffer.from([0x80 | opcode, (masked ? 0x80 : 0) | payload.length])
  return masked ? Buffer.concat([head, MASK, unmask(payload, MASK)]) : Buffer.concat([head, payload])
}

export function framesIn(bytes: Buffer): readonly Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const second = bytes[at + 1] as number
    const length = second & 0x7f
    const from = at + ((second & 0x80) === 0 ? 2 : 6)
    if (length > 125 || from + length > bytes.length) break
    const raw = bytes.subarray(from, from + length)
    const payload = from === at + 2 ? raw : unmask(raw, bytes.subarray(from - 4, from))
    frames.push({ opcode: (bytes[at] as number) & 0x0f, payload })
    at = from + length
  }
  return frames
}

function unmask(payload: Buffer, mask: Buffer): Buffer {
  return Buffer.from(payload.map((byte, i) => byte ^ (mask[i % 4] as number)))
}

/** What a server answers to a client's key (RFC 6455 section 4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}
