/** Profiles and heap snapshots of the running process, one at a time: each costs the gateway something while it is taken. */

import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { getHeapSnapshot } from 'node:v8'
import { plainAddress } from '../exchange/peer.ts'

/** Between two samples, us: V8's default, of which ten make the smallest thing worth seeing. */
const SAMPLING_US = 1000

/** A name that a page on the web cannot have pointed here (DNS rebinding). */
const LOCAL_HOST = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/

/**
 * Whether the whole memory of the process may be shown: with it go keys, configured headers, and requests under way. To
 * this machine alone: over loopback, and called so (`kubectl port-forward` and `ssh -L` come from there).
 */
export function isFromHere(remoteAddress: string, host: string): boolean {
  const address = plainAddress(remoteAddress)
  return (address === '::1' || address.startsWith('127.')) && LOCAL_HOST.test(host)
}

export class Recorder {
  /** What is being taken now. */
  busy: 'a CPU profile' | 'a heap snapshot' | undefined

  /**
   * The text of a .cpuprofile. Samples cost some 5 % of the CPU while they are taken.
   * @param gone ends it early; what was sampled by then is returned
   */
  async cpuProfile(ms: number, gone: AbortSignal): Promise<string> {
    this.busy = 'a CPU profile'
    try {
      // Node can be built without it.
      const { Session } = await import('node:inspector/promises')
      const session = new Session()
      session.connect()
      try {
        await session.post('Profiler.enable')
        await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US })
        await session.post('Profiler.start')
        await delay(ms, undefined, { signal: gone }).catch(() => undefined)
        const { profile } = await session.post('Profiler.stop')
        return JSON.stringify(profile)
      } finally {
        session.disconnect()
      }
    } finally {
      this.busy = undefined
    }
  }

  /** The text of a .heapsnapshot. The event loop stands still while it is made, about a second for 100 MB of heap. */
  heapSnapshot(): Readable {
    this.busy = 'a heap snapshot'
    try {
      const snapshot = getHeapSnapshot()
      snapshot.once('close', () => {
        this.busy = undefined
      })
      return snapshot
    } catch (error) {
      this.busy = undefined
      throw error
    }
  }
}
