import type { ConnectionFault, RequestFault } from './faults.ts'
import { framingOf, MessageParser } from './message-parser.ts'
import { perform } from './perform.ts'
import { Gone, type UpstreamConnection } from './upstream-connection.ts'
import { UpstreamRequest } from './upstream-request.ts'

export interface ServeHooks {
  nextIndex(): number
  onRequest(request: UpstreamRequest): void
  onAnswered(): void
  onMalformed(): void
  choose(request: UpstreamRequest): RequestFault
}

/** Reads requests off one connection, one after the other, and does to each what its fault says. */
export function serveConnection(
  connection: UpstreamConnection,
  fault: ConnectionFault | undefined,
  hooks: ServeHooks,
): void {
  if (fault) {
    // Read and thrown away, so that the peer's FIN and RST are noticed.
    connection.onBytes(() => {})
    run(connection, performOnConnection(fault, connection))
    return
  }
  let receiving: UpstreamRequest | undefined
  let previous: Promise<void> = Promise.resolve()
  let isBusy = false
  let idle: NodeJS.Timeout | undefined

  const begin = async (request: UpstreamRequest): Promise<void> => {
    isBusy = true
    const idleFault = await perform(hooks.choose(request), request)
    isBusy = false
    if (idleFault) {
      if (idleFault.then === 'rst') run(connection, connection.delivered())
      idle = setTimeout(() => {
        if (idleFault.then === 'speak') run(connection, connection.write(idleFault.bytes))
        else run(connection, connection.leave(idleFault.then))
      }, idleFault.afterMs)
    }
  }
  connection.over.addEventListener('abort', () => clearTimeout(idle))

  const parser = new MessageParser({
    head: head => {
      const request = new UpstreamRequest(head, hooks.nextIndex(), connection)
      receiving = request
      request.waits.answered.then(hooks.onAnswered, () => {})
      const framing = framingOf(head.headers, 'none')
      hooks.onRequest(request)
      // At once unless an earlier request is unanswered (pipelining): a fault that stops reading must do so now,
      // before the rest of the upload is read.
      previous = isBusy ? previous.then(() => begin(request)) : begin(request)
      run(connection, previous)
      return framing
    },
    body: bytes => receiving?.noteBody(bytes),
    end: trailers => receiving?.noteUploaded(trailers),
  })
  connection.onBytes(bytes => {
    clearTimeout(idle)
    if (connection.ended?.how === 'us') return
    if (connection.switched !== undefined) {
      connection.switched(bytes)
      return
    }
    try {
      parser.push(bytes)
    } catch {
      hooks.onMalformed()
      connection.destroy()
    }
  })
}

async function performOnConnection(fault: ConnectionFault, connection: UpstreamConnection): Promise<void> {
  if (fault.then === 'hang' || fault.then === 'certificate') return
  if (fault.on === 'accept') await connection.sleep(fault.afterMs ?? 0)
  if (fault.then === 'speak') await connection.write(fault.bytes)
  else if (fault.then === 'garbage') await connection.write('HTTP/1.1 400 this is not TLS\r\n\r\n')
  else await connection.leave(fault.then)
}

/** The peer may leave at any point of a fault: that is no error of ours. Anything else is a bug of the kit. */
function run(connection: UpstreamConnection, performance: Promise<void>): void {
  performance.catch((error: unknown) => {
    if (!(error instanceof Gone) && !connection.over.aborted) throw error
  })
}
