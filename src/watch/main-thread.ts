/**
 * What another thread can do with a main thread whose event loop stands still: an inspector session from a worker
 * (Node 12.11 and later) interrupts JavaScript wherever it is, in a loop, in Atomics.wait and in a regular expression alike
 * (measured on Node 20: the stack is there after 13 to 26 ms). In native code (a synchronous file operation, a long
 * garbage collection) the interruption waits for its end.
 */
import type { Debugger, Session } from 'node:inspector'

const FRAMES = 20

interface Frame {
  readonly id: string
  readonly text: string
}

/** Interrupts the main thread. Throws where Node was built without an inspector. */
async function interrupted(stopped: (session: Session, stack: readonly Frame[]) => void): Promise<void> {
  const inspector = await import('node:inspector')
  const session = new inspector.Session()
  session.connectToMainThread()
  // A frame names its script by number; what each is called was said when it was parsed, and is said again to newcomers.
  const files = new Map<string, string>()
  session.on('Debugger.scriptParsed', ({ params: { scriptId, url } }) => files.set(scriptId, url))
  session.once('Debugger.paused', ({ params }) => {
    const stack = params.callFrames.slice(0, FRAMES).map(frame => ({
      id: frame.callFrameId,
      text: line(frame, files.get(frame.location.scriptId) ?? ''),
    }))
    stopped(session, stack)
  })
  session.post('Debugger.enable')
  session.post('Debugger.pause')
}

/**
 * Where the main thread is, innermost first; it goes on at once.
 * @returns undefined where it could not be interrupted within `patienceMs`
 */
export function stackOfMainThread(patienceMs: number): Promise<readonly string[] | undefined> {
  return new Promise(resolve => {
    const late = setTimeout(() => resolve(undefined), patienceMs)
    interrupted((session, stack) => {
      clearTimeout(late)
      // However late: nobody else would let it go on.
      session.post('Debugger.resume')
      session.post('Debugger.disable', () => session.disconnect())
      resolve(stack.map(({ text }) => text))
    }).catch(() => {
      clearTimeout(late)
      resolve(undefined)
    })
  })
}

function line({ functionName, location }: Debugger.CallFrame, file: string): string {
  const { lineNumber, columnNumber = 0 } = location
  return `${functionName || '(anonymous)'} (${file}:${lineNumber + 1}:${columnNumber + 1})`
}

/**
 * Has the main thread end the process with this exit code, from inside of whatever it does: `process.exit` of a worker ends
 * the worker alone, and no signal gives an exit code. `reallyExit` runs no handlers, which would wait for the loop. (Node
 * says then on stderr that it waits for the debugger to disconnect; it does not.)
 */
export function exitFromMainThread(code: number): void {
  interrupted((session, [innermost]) => {
    const callFrameId = innermost?.id ?? ''
    session.post('Debugger.evaluateOnCallFrame', { callFrameId, expression: `process.reallyExit(${code})` })
  }).catch(() => {})
}
