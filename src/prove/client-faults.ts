import { setTimeout as delay } from 'node:timers/promises'
import type { ClientFault, Leave } from './faults.ts'
import { type ClientOptions, openClient, type RawClient } from './raw-client.ts'
import { type RawRequest, requestBody, requestHead } from './raw-request.ts'
import type { PendingResponse } from './raw-response.ts'

export interface Misbehaved {
  readonly client: RawClient
  /** What the client would see, if it stayed: a client that left is told `status: 0` or a truncation. */
  readonly pending: PendingResponse
  /** `performance.now()` ms of the deed: the leave, the last byte before a hang, the start of a drip. */
  readonly struckAt: number
  /** A drip goes on after `misbehave` returned: its end. Settled already for all else. */
  readonly done: Promise<void>
}

/**
 * Sends a request up to the point where `fault` strikes, and does it. Resolves when it is done; a drip goes on behind.
 * Faults on the response need a server that answers so far; the wait for it is bounded by `options.timeoutMs`.
 */
export async function misbehave(
  port: number,
  request: RawRequest,
  fault: ClientFault,
  options: ClientOptions = {},
): Promise<Misbehaved> {
  const client = await openClient(port, options)
  const pending = client.expect(request.method)
  const head = requestHead(request, port)
  const body = Buffer.concat([...requestBody(request)])
  const struck = (done: Promise<void> = Promise.resolve()): Misbehaved => {
    return { client, pending, struckAt: performance.now(), done }
  }
  const strike = (deed: 'hang' | Leave): Misbehaved => {
    if (deed !== 'hang') client.leave(deed)
    return struck()
  }
  switch (fault.on) {
    case 'connect':
      return strike(fault.then)
    case 'request-headers': {
      if (fault.then === 'drip') return struck(client.drip(head, fault.pace).then(() => client.sendUnlessGone(body)))
      const bytes = fault.afterBytes === 'half' ? head.length >> 1 : (fault.afterBytes ?? 0)
      if (bytes > 0) await client.send(head.subarray(0, bytes))
      return strike(fault.then)
    }
    case 'request-body': {
      if (fault.then === 'drip') {
        await client.send(head)
        return struck(client.drip(body, fault.pace))
      }
      await client.send(Buffer.concat([head, body.subarray(0, fault.afterBytes ?? 0)]))
      return strike(fault.then)
    }
    case 'waiting':
      if (fault.then === 'stop-reading') client.pause()
      await client.send(Buffer.concat([head, body]))
      if (fault.afterMs) await delay(fault.afterMs)
      if (fault.then === 'half-close') client.halfClose()
      else if (fault.then !== 'stop-reading') client.leave(fault.then)
      return struck()
    case 'response-body':
      if (fault.then === 'drip') client.readSlowly(fault.pace)
      await client.send(Buffer.concat([head, body]))
      await pending.headers
      if (fault.then === 'drip') return struck()
      await pending.bodyReached(fault.afterBytes ?? 0)
      if (fault.then === 'stop-reading') client.pause()
      else client.leave(fault.then)
      return struck()
  }
}
