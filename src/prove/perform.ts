import type { Answer, Pace, RequestFault } from './faults.ts'
import { acceptOf, CLOSE, frame, framesIn, PING, PONG } from './frames.ts'
import type { UpstreamConnection } from './upstream-connection.ts'
import type { UpstreamRequest } from './upstream-request.ts'
import { answerHead, bodySlices, closesAfter, headOf, isBodyless } from './wire.ts'

/** What is left to do on the connection once a request is dealt with: an idle fault waits for its moment. */
export type Afterwards = Extract<RequestFault, { on: 'idle' }> | undefined

const DEFAULT_GARBAGE = '\x00\x01\xff\xfethis is not HTTP\r\n\r\n\x80\x00'

/** Does to one request what its fault says. Throws `Gone` when the peer leaves before that is done. */
export async function perform(fault: RequestFault, request: UpstreamRequest): Promise<Afterwards> {
  const { connection } = request
  switch (fault.on) {
    case 'request':
      return performOnRequest(fault, request)
    case 'headers':
      await request.waits.upload
      return performOnHeaders(fault, request)
    case 'body':
      await request.waits.upload
      return performOnBody(fault, request)
    case 'idle':
      await request.waits.upload
      await sendAnswer(request, fault.answer)
      return fault
    default:
      return connection.hang()
  }
}

async function performOnRequest(
  fault: Extract<RequestFault, { on: 'request' }>,
  request: UpstreamRequest,
): Promise<Afterwards> {
  const { connection, waits } = request
  switch (fault.then) {
    case 'answer':
      await waits.upload
      return sendAnswer(request, fault.answer)
    case 'answer-early':
      if (fault.afterBytes) await waits.body(fault.afterBytes)
      if (fault.rest === 'stop-reading') connection.stopReading()
      await sendAnswer(request, fault.answer)
      if (fault.rest === 'stop-reading') return connection.hang()
      if (fault.rest === 'read') await waits.upload
      else await connection.leave(fault.rest)
      return undefined
    case 'stop-reading':
      if (fault.afterBytes) await waits.body(fault.afterBytes)
      connection.stopReading()
      return hangUntilAnswered(request)
    case 'drip':
      connection.readSlowly(fault.pace)
      await waits.upload
      connection.readOn()
      return sendAnswer(request, fault.answer)
    case 'fin':
    case 'rst':
      if (fault.afterBytes) await waits.body(fault.afterBytes)
      await connection.leave(fault.then)
      return undefined
  }
}

async function performOnHeaders(
  fault: Extract<RequestFault, { on: 'headers' }>,
  request: UpstreamRequest,
): Promise<Afterwards> {
  const { connection } = request
  switch (fault.then) {
    case 'hang':
    case 'fin':
    case 'rst': {
      const head = answerHead(fault.answer ?? {})
      const bytes = fault.afterBytes === 'half' ? head.length >> 1 : (fault.afterBytes ?? 0)
      if (bytes > 0) await connection.write(head.subarray(0, bytes))
      if (fault.then !== 'hang') await connection.leave(fault.then)
      else if (bytes > 0) return connection.hang()
      else return hangUntilAnswered(request)
      return undefined
    }
    case 'drip':
      return sendAnswer(request, fault.answer, { headPace: fault.pace })
    case 'interim': {
      const interim = headOf(fault.status, [])
      const count = fault.count === 'endless' ? Number.POSITIVE_INFINITY : fault.count
      for (let sent = 0; sent < count; sent++) {
        if (sent > 0) await connection.sleep(fault.everyMs)
        await connection.write(interim)
      }
      return fault.answer ? sendAnswer(request, fault.answer) : hangUntilAnswered(request)
    }
    case 'garbage':
      await connection.write(Buffer.from(fault.bytes ?? DEFAULT_GARBAGE, 'latin1'))
      return connection.hang()
    case 'overflow': {
      const lineBytes = fault.lineBytes ?? 1024
      const count = Math.ceil((fault.headerBytes ?? 256 * 1024) / lineBytes)
      // "X-Fill-00000: " and CRLF are 16 of a line's bytes.
      const value = 'x'.repeat(Math.max(1, lineBytes - 16))
      const headers = Array.from({ length: count }, (_, n) => [`X-Fill-${String(n).padStart(5, '0')}`, value] as const)
      return sendAnswer(request, { headers })
    }
    case 'upgrade':
      await connection.write(
        headOf(101, [
          ['Connection', 'Upgrade'],
          ['Upgrade', fault.protocol ?? 'websocket'],
          ...(fault.speaks
            ? [['Sec-WebSocket-Accept', acceptOf(request.header('sec-websocket-key') ?? '')] as const]
            : []),
        ]),
      )
      if (fault.speaks) connection.switched = bytes => speakWebSocket(connection, bytes)
      return connection.hang()
  }
}

async function performOnBody(
  fault: Extract<RequestFault, { on: 'body' }>,
  request: UpstreamRequest,
): Promise<Afterwards> {
  const { connection } = request
  if (fault.then === 'drip') {
    return sendAnswer(request, fault.answer, { bodyPace: fault.pace, paceFrom: fault.afterBytes ?? 0 })
  }
  // A body that is cut must be longer than nothing, whatever the test left out.
  const answer: Answer = {
    body: 1024 * 1024,
    ...fault.answer,
    ...(fault.then === 'garbage' ? { framing: 'chunked' } : {}),
  }
  await sendAnswer(request, answer, { cutBytes: fault.afterBytes ?? 0 })
  if (fault.then === 'garbage') await connection.write('this is no chunk size\r\n')
  if (fault.then === 'garbage' || fault.then === 'hang') return connection.hang()
  await connection.leave(fault.then)
  return undefined
}

async function hangUntilAnswered(request: UpstreamRequest): Promise<Afterwards> {
  const answer = await Promise.race([request.waits.manualAnswer, request.connection.hang()])
  return sendAnswer(request, answer)
}

interface Delivery {
  readonly headPace?: Pace
  readonly bodyPace?: Pace
  /** Payload bytes before which the body is not paced. */
  readonly paceFrom?: number
  /** Stop after so many payload bytes: what ends the connection is the caller's matter. */
  readonly cutBytes?: number
}

async function sendAnswer(request: UpstreamRequest, answer: Answer = {}, how: Delivery = {}): Promise<Afterwards> {
  const { connection } = request
  for (const { status, headers } of answer.interim ?? []) await connection.write(headOf(status, headers ?? []))
  await connection.sleep(answer.delayHeadersMs ?? 0)
  let unsent = answerHead(answer)
  if (how.headPace) {
    await drip(connection, unsent, how.headPace)
    unsent = Buffer.alloc(0)
  }
  if (answer.delayBodyMs || how.cutBytes === 0) {
    await connection.write(unsent)
    unsent = Buffer.alloc(0)
    await connection.sleep(answer.delayBodyMs ?? 0)
  }
  if (!isBodyless(answer, request.method)) {
    const sliceFrom = how.paceFrom ?? 0
    const shape = {
      ...(how.cutBytes === undefined ? {} : { cutBytes: how.cutBytes }),
      ...(how.bodyPace === undefined ? {} : { sliceBytes: how.bodyPace.bytesPerTick, sliceFrom }),
    }
    let sentBytes = 0
    for (const slice of bodySlices(answer, shape)) {
      if (how.bodyPace && sentBytes > 0 && sentBytes >= sliceFrom) await connection.sleep(how.bodyPace.tickMs)
      // Head and first slice in one write, as real servers do.
      await connection.write(unsent.length > 0 ? Buffer.concat([unsent, slice]) : slice)
      unsent = Buffer.alloc(0)
      sentBytes += slice.length
    }
  }
  if (unsent.length > 0) await connection.write(unsent)
  if (how.cutBytes !== undefined) return undefined
  request.noteAnswered()
  if (closesAfter(answer)) await connection.leave('fin')
  return undefined
}

async function drip(connection: UpstreamConnection, bytes: Buffer, pace: Pace): Promise<void> {
  for (let sent = 0; sent < bytes.length; sent += pace.bytesPerTick) {
    if (sent > 0) await connection.sleep(pace.tickMs)
    await connection.write(bytes.subarray(sent, sent + pace.bytesPerTick))
  }
}

/** Answers pings and goodbyes. The peer may be gone by then: that is no error. */
function speakWebSocket(connection: UpstreamConnection, bytes: Buffer): void {
  for (const { opcode, payload } of framesIn(bytes)) {
    if (opcode === PING) connection.write(frame(PONG, payload, false)).catch(() => {})
    if (opcode !== CLOSE) continue
    connection
      .write(frame(CLOSE, payload.subarray(0, 2), false))
      .then(() => connection.leave('fin'))
      .catch(() => {})
  }
}
