/**
 * Takes the connections that a listening socket accepts, in place of Node's own handler (lib/net.js, `onconnection`), which
 * makes a Socket without `onread`, out of an object that it spreads and adds to: V8 (up to that of Node 20 at least) gives
 * each such object a hidden class of its own, and every look at its options misses every cache, 37 times a
 * connection (measured: docs/benchmarks.md, W4). With the options complete from the
 * start nothing is added. test/facts holds what is used of Node here.
 */
import { type Server, Socket, type SocketConstructorOpts } from 'node:net'
import type { OnRead } from '../read-buffer.ts'

/** A connection that was accepted, as libuv has it. */
export interface Accepted {
  getpeername(out: Peername): number
  close(): void
}

export interface Peername {
  address?: string
  port?: number
}

interface ListeningHandle {
  /** @param error a code of libuv; 0 for none */
  onconnection(error: number, accepted: Accepted | undefined): void
}

/** To be called when `server` listens. @throws where this Node does it in another way */
export function takeAccepted(server: Server, take: (accepted: Accepted) => void): void {
  const { _handle: handle } = server as unknown as { _handle?: ListeningHandle }
  if (typeof handle?.onconnection !== 'function')
    throw new Error('this version of Node accepts connections in another way')
  handle.onconnection = (error, accepted) => {
    // Out of descriptors: libuv has closed what it could not accept, and goes on. The kernel's view counts them.
    if (error === 0 && accepted !== undefined) take(accepted)
  }
}

/**
 * `allowHalfOpen`: a client's FIN is one direction's end. What follows from it is for the exchange to say, and for the
 * tunnel. The last four are what Node would add.
 */
export function socketOf(handle: Accepted, onread: OnRead): Socket {
  return new Socket({
    handle,
    onread,
    readable: true,
    writable: true,
    allowHalfOpen: true,
    emitClose: false,
    autoDestroy: true,
    decodeStrings: false,
  } as SocketConstructorOpts)
}
