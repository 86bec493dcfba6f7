/**
 * Requests that ask for another protocol. Node decides while it parses, by `req.upgrade`, whether to let go of the
 * connection; so that property is where the gateway says which requests are meant: those for WebSocket. All others go
 * on as the plain requests that they also are, with their bodies and their keep-alive.
 */
import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { connectionOf } from '../exchange/client-connection.ts'
import { linger } from '../exchange/linger.ts'
import { isWebSocketUpgrade } from '../websocket/switching.ts'

/**
 * `upgrade` is set by Node to whether the request has both `Upgrade` and `Connection: upgrade` (or is a CONNECT), before
 * its headers are there, and read when they are (lib/_http_server.js, parserOnIncoming; test/facts holds it).
 * An ordinary request pays for two calls that do nothing.
 */
export class GatewayRequest extends IncomingMessage {
  declare asked: true | undefined

  set upgrade(asked: boolean | null) {
    if (asked === true) this.asked = true
  }

  get upgrade(): boolean {
    if (this.asked === undefined) return false
    if (this.method === 'CONNECT') return true
    // Behind a response that is under way there is no connection to let go of: served as a plain request, in its turn.
    return connectionOf(this.socket)?.user === undefined && isWebSocketUpgrade(this)
  }
}

/** A response on a connection that Node has let go of: written as any other, and the last one there. */
export function responseOn(req: IncomingMessage, socket: Socket): ServerResponse {
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(socket)
  // What Node's server does at the end of a response (resOnFinish), as far as it matters here.
  res.once('finish', () => {
    if (res.socket === null) return
    res.detachSocket(socket)
    res.emit('close')
    linger(socket)
  })
  return res
}
