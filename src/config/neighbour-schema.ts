/** The keys of `neighbours`: what those around the gateway do. It obeys none of them; `hopgate lint` compares them with what is configured. */
import { part, written } from './field.ts'
import { name } from './http-values.ts'
import { dictionary, section, type Values } from './kind.ts'
import { duration, integer } from './scalars.ts'

const front = section({
  response_timeout: written(
    duration,
    'How long it waits for an answer before it gives up on us: nginx `proxy_read_timeout`, HAProxy `timeout server`, the idle timeout of an AWS load balancer.',
  ),
  keepalive_idle: written(
    duration,
    'How long it keeps an idle connection to us: nginx `keepalive_timeout` of the `upstream` block, HAProxy `timeout http-keep-alive`.',
  ),
})

const neighbourUpstream = section(
  {
    keepalive_idle: written(
      duration,
      'How long it keeps an idle connection of ours: Node `server.keepAliveTimeout`, gunicorn `--keep-alive`.',
    ),
    request_timeout: written(
      duration,
      'How long it works on one request before it gives up by itself: gunicorn `--timeout`, PHP `request_terminate_timeout`.',
    ),
    accept_backlog: written(
      integer({ min: 1, max: 1_000_000 }),
      'How many connections may wait there to be accepted, for each endpoint: the smaller of its `listen()` backlog (Node: 511) and `net.core.somaxconn`.',
    ),
  },
  [],
  'neighbour',
)

export const neighbours = section({
  front: part(front, 'The proxy or load balancer that our clients connect through.'),
  upstreams: part(
    dictionary(name, neighbourUpstream, 0),
    'The servers behind an upstream, by its name under `upstreams`.',
  ),
  kubernetes: part(
    section({
      termination_grace_period: written(
        duration,
        '`terminationGracePeriodSeconds` of our pod, or whatever stands for it: `stop_grace_period`, `TimeoutStopSec`.',
      ),
    }),
    'Who ends this process.',
  ),
})

export type WrittenNeighbours = Values<typeof neighbours.fields>
