/** What `watchdog` may say beyond what each of its keys may. */
import { formatDuration } from './duration.ts'
import type { Written } from './schema.ts'
import { locate, type Report, type SourceNode } from './source.ts'

/** Below it, a scheduler that gives the CPU to others for a moment would be a stall. */
const LEAST_STALL_MS = 100

export function checkWatchdog({ watchdog }: Written, root: SourceNode, report: Report): void {
  if (watchdog === null) return
  const { stall, kill } = watchdog
  if (stall < LEAST_STALL_MS) {
    report(
      locate(root, 'watchdog', 'stall'),
      `too short (got ${formatDuration(stall)}, allowed ${formatDuration(LEAST_STALL_MS)} or more)`,
    )
  }
  if (kill > stall) return
  report(
    locate(root, 'watchdog', 'kill'),
    `the stall would never be told before the process is ended (got ${formatDuration(kill)}, allowed more than stall, ${formatDuration(stall)}, or off)`,
  )
}
