// What the bare Node proxies share: which upstream a path belongs to, and how they listen.
export const isSlow = url => url.startsWith('/sink') || url.startsWith('/slow') || url.startsWith('/hold')

export function targets(make) {
  return { fast: make(process.env.FAST_PORT), slow: make(process.env.SLOW_PORT) }
}

export function listen(server) {
  server.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 4096 })
}
