/**
 * N gateways in front of one backend that stalls and comes back: a discrete-event simulation, without sockets or clocks.
 *
 * The gateway is what upstream/upstream.ts is: slots, a bounded queue in order of arrival, `queue`, `response_headers` and
 * `request` timeouts, one outcome for each exchange. A load balancer sends each request to a gateway at random. The
 * backend has so many workers and an unbounded backlog, and does not notice that a request was cancelled before it has done
 * it: most do not. While it stalls it begins nothing.
 */
import { Agenda } from './agenda.ts'
import { exponential, type Random, seeded } from './random.ts'

export interface Settings {
  /** Of each gateway: pool.max_connections, for one endpoint. */
  readonly slots: number
  /** Of each gateway: pool.queue. */
  readonly queue: number
  /** All in seconds; Infinity: off. */
  readonly queueTimeout: number
  readonly responseHeaders: number
  readonly request: number
}

export interface World {
  readonly replicas: number
  readonly settings: Settings
  /** Requests per second, over all gateways. */
  readonly rate: number
  /** Seconds after which a caller gives up. */
  readonly patience: number
  readonly workers: number
  /** Mean seconds of work on one request; exponential. */
  readonly work: number
  /** Seconds: the backend stalls from, to; callers come until `end`. */
  readonly stall: readonly [from: number, to: number]
  readonly end: number
  readonly seed: number
}

export const SIMULATED = [
  'completed',
  'queue_full',
  'queue_timeout',
  'response_headers_timeout',
  'deadline_exceeded',
  'client_abort',
] as const
export type Simulated = (typeof SIMULATED)[number]

export interface Ended {
  readonly arrived: number
  readonly ended: number
  readonly outcome: Simulated
}

export interface History {
  readonly ended: readonly Ended[]
  /** The most connections that the backend saw at once, and the most that waited in one gateway. */
  readonly mostConnections: number
  readonly mostQueued: number
  /** Requests in the backend's backlog when the stall was over, and those among them that nobody waited for any more. */
  readonly backlog: number
  readonly backlogForNobody: number
  /** Work that was done for nobody, in requests. */
  readonly wasted: number
}

/** One exchange; the job that the backend has of it lives on when the exchange has ended. */
interface Exchange {
  readonly arrived: number
  readonly gateway: Gateway
  state: 'queued' | 'upstream' | 'ended'
}

interface Gateway {
  busy: number
  queued: number
  /** In order of arrival; those that left are skipped. */
  readonly waiting: Exchange[]
  head: number
}

type Happening =
  | { readonly what: 'arrival' | 'stall-over' }
  | { readonly what: 'worked'; readonly exchange: Exchange }
  | {
      readonly what: 'times-out'
      readonly exchange: Exchange
      readonly outcome: Simulated
      readonly only?: Exchange['state']
    }

export function simulate(world: World): History {
  const run = new Run(world)
  return run.toTheEnd()
}

class Run {
  readonly #world: World
  readonly #random: Random
  readonly #agenda = new Agenda<Happening>()
  readonly #gateways: readonly Gateway[]
  readonly #ended: Ended[] = []
  readonly #backlog: Exchange[] = []
  #backlogHead = 0
  #idleWorkers: number
  #connections = 0
  #mostConnections = 0
  #mostQueued = 0
  #wasted = 0
  #left = { backlog: 0, forNobody: 0 }
  #now = 0

  constructor(world: World) {
    this.#world = world
    this.#random = seeded(world.seed)
    this.#idleWorkers = world.workers
    this.#gateways = Array.from({ length: world.replicas }, () => ({ busy: 0, queued: 0, waiting: [], head: 0 }))
  }

  toTheEnd(): History {
    this.#agenda.add(exponential(this.#random, 1 / this.#world.rate), { what: 'arrival' })
    this.#agenda.add(this.#world.stall[1], { what: 'stall-over' })
    const perform = (time: number, happening: Happening): void => {
      this.#now = time
      this.#perform(happening)
    }
    while (this.#agenda.next(perform));
    return {
      ended: this.#ended,
      mostConnections: this.#mostConnections,
      mostQueued: this.#mostQueued,
      backlog: this.#left.backlog,
      backlogForNobody: this.#left.forNobody,
      wasted: this.#wasted,
    }
  }

  #perform(happening: Happening): void {
    switch (happening.what) {
      case 'arrival':
        this.#arrive()
        return
      case 'worked':
        this.#idleWorkers++
        if (happening.exchange.state === 'ended') this.#wasted++
        else this.#end(happening.exchange, 'completed')
        this.#work()
        return
      case 'stall-over': {
        const backlog = this.#backlog.slice(this.#backlogHead)
        this.#left = { backlog: backlog.length, forNobody: backlog.filter(({ state }) => state === 'ended').length }
        this.#work()
        return
      }
      case 'times-out': {
        const { exchange, outcome, only } = happening
        if (exchange.state !== 'ended' && (only === undefined || exchange.state === only)) this.#end(exchange, outcome)
      }
    }
  }

  #arrive(): void {
    const { rate, end, settings, patience } = this.#world
    const next = this.#now + exponential(this.#random, 1 / rate)
    if (next < end) this.#agenda.add(next, { what: 'arrival' })
    const gateway = this.#gateways[Math.floor(this.#random() * this.#gateways.length)] as Gateway
    const exchange: Exchange = { arrived: this.#now, gateway, state: 'queued' }
    if (gateway.busy < settings.slots) {
      this.#send(exchange)
    } else if (gateway.queued < settings.queue) {
      gateway.waiting.push(exchange)
      gateway.queued++
      this.#mostQueued = Math.max(this.#mostQueued, gateway.queued)
      this.#clock(exchange, settings.queueTimeout, 'queue_timeout', 'queued')
    } else {
      exchange.state = 'ended'
      this.#ended.push({ arrived: this.#now, ended: this.#now, outcome: 'queue_full' })
      return
    }
    this.#clock(exchange, settings.request, 'deadline_exceeded')
    this.#clock(exchange, patience, 'client_abort')
  }

  /** A timeout that is off needs no entry. */
  #clock(exchange: Exchange, seconds: number, outcome: Simulated, only?: Exchange['state']): void {
    if (!Number.isFinite(seconds)) return
    const happening = { what: 'times-out', exchange, outcome } as const
    this.#agenda.add(this.#now + seconds, only === undefined ? happening : { ...happening, only })
  }

  #send(exchange: Exchange): void {
    exchange.state = 'upstream'
    exchange.gateway.busy++
    this.#mostConnections = Math.max(this.#mostConnections, ++this.#connections)
    this.#clock(exchange, this.#world.settings.responseHeaders, 'response_headers_timeout')
    this.#backlog.push(exchange)
    this.#work()
  }

  #end(exchange: Exchange, outcome: Simulated): void {
    const { gateway } = exchange
    const held = exchange.state === 'upstream'
    exchange.state = 'ended'
    this.#ended.push({ arrived: exchange.arrived, ended: this.#now, outcome })
    if (!held) {
      gateway.queued--
      return
    }
    gateway.busy--
    this.#connections--
    for (let next = gateway.waiting[gateway.head]; next !== undefined; next = gateway.waiting[gateway.head]) {
      gateway.head++
      if (next.state !== 'queued') continue
      gateway.queued--
      this.#send(next)
      return
    }
  }

  /** As long as somebody is idle and the backend does not stall: in order of arrival, the abandoned ones too. */
  #work(): void {
    const [from, to] = this.#world.stall
    if (this.#now >= from && this.#now < to) return
    while (this.#idleWorkers > 0 && this.#backlogHead < this.#backlog.length) {
      const exchange = this.#backlog[this.#backlogHead++] as Exchange
      this.#idleWorkers--
      this.#agenda.add(this.#now + exponential(this.#random, this.#world.work), { what: 'worked', exchange })
    }
  }
}
