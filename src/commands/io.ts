/** What a command may know and do of the process it runs in; `cli.ts` fills it in, tests put their own. */
export interface CommandIo {
  readonly version: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean }
  readonly exit: (code: number) => void
  readonly onSignal: (names: readonly NodeJS.Signals[], listener: (name: NodeJS.Signals) => void) => void
  /** Uncaught exceptions and unhandled rejections. */
  readonly onFailure: (listener: (kind: string, reason: unknown) => void) => void
}
