/**
 * The timeouts of every proxy of the comparison, ms. Those of the upstream's stages are equal, because nginx and HAProxy
 * have one timeout for several of them; those of the client hop are longer, so that the hops cannot be taken for each
 * other. The configurations in peers/ say them in their own words.
 */
export const TIMEOUTS = {
  connect: 500,
  requestWrite: 800,
  responseHeaders: 800,
  bodyIdle: 800,
  request: 2500,
  clientHeaders: 1000,
  clientBodyIdle: 1000,
  clientWriteIdle: 1000,
} as const

/** What is still "on time": the machine that compares runs client, proxy and upstream at once. */
export const LATE_MS = 250
/** No proxy's clock is finer than this. */
export const EARLY_MS = 20
/** What has not come by then is not awaited. */
export const PATIENCE_MS = 5000
