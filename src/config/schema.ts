/** Every key of the configuration, with its kind, range, built-in default and meaning. Beside route-schema.ts nothing else defines any of these. */
import { inherited, optional, part, requiredPart } from './field.ts'
import { name, network } from './http-values.ts'
import { dictionary, list, orNull, orOff, section, type Values } from './kind.ts'
import { neighbours } from './neighbour-schema.ts'
import { anyText, LATER_PER_ROUTE, route, routeValues, upstream } from './route-schema.ts'
import { address, boolean, duration, durationOrOff, integer, offOr, oneOf, rate, size } from './scalars.ts'
import { timeoutDoc } from './timeouts.ts'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

export const listenTimeouts = section({
  headers: inherited(duration, '10s', timeoutDoc('listen.timeouts.headers')),
  body_idle: inherited(durationOrOff, '10s', timeoutDoc('listen.timeouts.body_idle')),
  write_idle: inherited(durationOrOff, '10s', timeoutDoc('listen.timeouts.write_idle')),
  keepalive: inherited(duration, '75s', timeoutDoc('listen.timeouts.keepalive')),
})

const listen = section(
  {
    address: optional(address, '0.0.0.0:8080', 'Where clients connect. Port 0 lets the kernel choose.'),
    backlog: optional(
      integer({ min: 1, max: 65535 }),
      '4096',
      'Connections that wait to be accepted. The kernel lowers it to `net.core.somaxconn`, which `preflight` tells at the start.',
    ),
    max_connections: optional(
      integer({ min: 1, max: 1_000_000 }),
      '10000',
      'Client connections at the same time. Those above it are accepted, closed and counted.',
    ),
    max_header_size: optional(
      size({ min: KIB, max: MIB }),
      '16KiB',
      'Request line and headers together; above it the answer is 431.',
    ),
    min_body_rate: part(
      orOff(
        section({
          rate: optional(rate({ min: 1, max: GIB }), '240B/s', 'What an upload must reach on average.'),
          grace: optional(duration, '5s', 'How long after its start an upload is not yet measured.'),
        }),
      ),
      'An upload slower than this on average, after the grace, is a `client_timeout`. Its clock runs only while the gateway wants body bytes. It bounds what `body_idle` cannot: one byte every 9 s.',
    ),
    timeouts: part(listenTimeouts, 'The timeouts of the client hop.'),
    trusted_proxies: optional(
      list(network, 0),
      '[]',
      'The clients whose `X-Forwarded-*` and `X-Request-Id` are believed.',
    ),
  },
  ['tls', 'http2'],
)

export const schema = section(
  {
    listen: part(listen, 'The listener that clients connect to.'),
    admin: part(
      section({
        address: optional(
          address,
          '127.0.0.1:9464',
          'Where `/metrics`, `/healthz`, `/readyz` and the `/-/` pages are. Not for clients.',
        ),
      }),
      'The listener that operators connect to.',
    ),
    log: part(
      section({
        level: optional(
          oneOf('trace', 'debug', 'info', 'warn', 'error'),
          'info',
          'Lines below this level are not written.',
        ),
        destination: optional(
          anyText('word or file', 'stdout, stderr or the path of a file'),
          'stdout',
          '`stdout`, `stderr`, or the path of a file.',
        ),
        access: optional(boolean, 'true', 'Whether each exchange gets a line.'),
        buffer: optional(
          size({ min: 64 * KIB, max: GIB }),
          '8MiB',
          'What may wait for a destination that does not take it. When it is full, access lines are dropped first, and counted.',
        ),
      }),
      'JSON lines: one for each exchange, and the gateway’s own.',
    ),
    drain: part(
      section({
        delay: optional(
          duration,
          '5s',
          'After SIGTERM: how long `/readyz` says 503 while requests are still served, so that load balancers notice.',
        ),
        deadline: optional(
          duration,
          '20s',
          'After the delay: how long exchanges in flight may still take. What is left is cut, as `drain_killed`.',
        ),
      }),
      'The end of the process.',
    ),
    selfprobe: part(
      orOff(
        section({
          interval: optional(duration, '5s', 'From the beginning of one probe to that of the next.'),
          timeout: optional(duration, '1s', 'A probe that has no answer by then has failed.'),
          fail_after: optional(
            integer({ min: 1, max: 100 }),
            '3',
            'So many failures in a row turn `/healthz` to 503, until a probe succeeds.',
          ),
        }),
      ),
      'The gateway calls itself, through the listener that clients connect to. It is the route `_selfprobe` in the metrics; its access lines are written at `log.level: debug`.',
    ),
    watchdog: part(
      orOff(
        section({
          stall: optional(
            duration,
            '2s',
            'The event loop has not turned for so long: one line on stderr, with the stack and the oldest exchanges.',
          ),
          kill: optional(
            durationOrOff,
            'off',
            'After so long the process is ended, with exit code 70. 30s is right under a supervisor that starts it again.',
          ),
          address: optional(
            orNull(address),
            'null',
            'Where the thread answers `GET /healthz` by itself, with 503 while the event loop stands still; null: nowhere.',
          ),
        }),
      ),
      'A thread that watches the event loop of `run` and `demo`, and speaks while the process cannot.',
    ),
    defaults: part(
      section(routeValues, LATER_PER_ROUTE),
      'For every route, unless its upstream or the route itself says otherwise.',
    ),
    upstreams: requiredPart(
      dictionary(name, upstream, 1),
      'The backends, by name. The shared values written here apply to every route to this upstream.',
    ),
    routes: requiredPart(list(route, 1), 'Which requests go where.'),
    neighbours: part(
      neighbours,
      'What those around the gateway do, as far as you know it. Changes nothing here: [`hopgate lint`](LINT.md) compares it with the rest.',
    ),
    preflight: optional(
      offOr('warn', 'strict'),
      'warn',
      'Whether this machine gives what is configured, looked at once at the start, without DNS and dials: `warn` logs what [`hopgate doctor`](DOCTOR.md) finds; `strict` does not start where there is an error (exit code 78); `off` does not look.',
    ),
  },
  [...LATER_PER_ROUTE, 'workers'],
)

export type Written = Values<typeof schema.fields>
export type WrittenListen = Values<typeof listen.fields>
