/** The instants of an exchange, and the durations of its stages that are read off them. */
import type { StageTimes } from '../observe/record.ts'
import { now } from './alarm.ts'

export class Timeline {
  readonly started: number
  /** -1: not reached. Monotonic ms. */
  asked = -1
  slot = -1
  dialling = -1
  connected = -1
  sent = -1
  headers = -1
  /** No slot was free when one was asked for. */
  queued = false

  constructor(at: number) {
    this.started = at
  }

  /** A slot was taken: what the attempt before it had reached is void. @param usable its connection has served before */
  slotTaken(usable: boolean): void {
    if (this.slot === -1) this.slot = this.queued ? now() : this.asked
    this.connected = usable ? this.slot : -1
    this.sent = -1
  }

  isConnected(): void {
    if (this.connected === -1) this.connected = now()
  }

  /** A dial has entered its first stage, or the next. */
  dials(at: number): void {
    if (this.dialling === -1) this.dialling = at
  }

  /** The durations at `end`; a stage that was entered and not left ends there. */
  times(end: number): StageTimes {
    const { started, asked, slot, dialling, connected, sent, headers } = this
    // An upstream may answer before it has the whole request: the writing ends with the answer then.
    const written = sent === -1 || (headers !== -1 && headers < sent) ? headers : sent
    return {
      queue: asked === -1 ? -1 : (slot === -1 ? end : slot) - asked,
      connect: dialling === -1 ? -1 : (connected === -1 ? end : connected) - dialling,
      requestWrite: connected === -1 ? -1 : (written === -1 ? end : written) - connected,
      responseHeaders: written === -1 ? -1 : (headers === -1 ? end : headers) - written,
      responseBody: headers === -1 ? -1 : end - headers,
      total: end - started,
    }
  }
}
