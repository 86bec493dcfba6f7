/** Trailer fields, and what else a chunked body carries beside its payload. */
import { LARGE_BYTES } from '../read-buffer.ts'

/**
 * What may not come after the body it would have changed (RFC 9110 section 6.5.1): framing, routing, and what says who
 * asks. A recipient that merges trailers into the head would read another message than the one that was routed.
 */
const FORBIDDEN = new Set([
  'transfer-encoding',
  'content-length',
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'via',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  'x-request-id',
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'www-authenticate',
  'cookie',
  'set-cookie',
  'content-encoding',
  'content-type',
  'content-range',
])

/** @param fields flat, name and value in turn */
export function hasForbiddenTrailer(fields: readonly string[]): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    if (FORBIDDEN.has((fields[i] as string).toLowerCase().replaceAll('_', '-'))) return true
  }
  return false
}

/** What one read of the socket may hold beside the chunk that is counted. */
const ALLOWANCE_BYTES = LARGE_BYTES + 64 * 1024
/** A chunk of one byte takes six; extensions may take as much again. */
const PER_BYTE = 16

/**
 * Chunk extensions without end around a payload that hardly grows (CVE-2023-39326): the readers of bodies
 * bound one of them at 16 KiB (CVE-2024-22019), and not their sum.
 */
export function isMostlyFraming(wireBytes: number, payloadBytes: number): boolean {
  return wireBytes - payloadBytes > ALLOWANCE_BYTES + PER_BYTE * payloadBytes
}
