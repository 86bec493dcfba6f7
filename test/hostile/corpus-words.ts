/** What the inputs of the corpus are made of, and where each class of them comes from. */

/** Where each class of input comes from. */
export const SOURCES = {
  length: 'RFC 9110 8.6, RFC 9112 6.2-6.3; CVE-2020-8287, CVE-2021-22959; Klein, "HTTP Request Smuggling in 2020"',
  coding: 'RFC 9112 6.1, 7; Kettle, "HTTP Desync Attacks" (2019); CVE-2021-22960, CVE-2022-32213, CVE-2022-32215',
  chunks: 'RFC 9112 7.1; CVE-2020-11724, CVE-2023-46589; Jeppe Bonde Weikop, "Funky chunks" (2025)',
  extensions: 'RFC 9112 7.1.1; CVE-2021-22960, CVE-2023-39326, CVE-2024-22019',
  trailers: 'RFC 9110 6.5.1; CVE-2023-45648',
  lines: 'RFC 9112 2.2, 5.2; CVE-2022-32214, CVE-2022-35256, CVE-2018-12116',
  names: 'RFC 9110 5.1, RFC 9112 5.1; CVE-2019-15605, CVE-2019-20444; nginx underscores_in_headers',
  values: 'RFC 9110 5.5; CVE-2016-2216, CVE-2023-25725',
  host: 'RFC 9112 3.2, RFC 9110 7.2; Kettle, "Practical HTTP Host header attacks" (2013)',
  target:
    'RFC 9112 3.2, RFC 3986 5.2.4, 6.2.2; CVE-2021-41773, CVE-2023-25690; Orange Tsai, "Breaking Parser Logic" (2018)',
  request_line: 'RFC 9112 3; RFC 9110 9.1; CVE-2022-31629',
  versions: 'RFC 9112 2.3; RFC 9113 3.4; "h2c Smuggling" (Bishop Fox, 2020)',
  methods: 'RFC 9110 9.3.6, 9.3.8; CWE-693 (cross-site tracing)',
  limits: 'RFC 6585 5, RFC 9110 15.5.15; CVE-2018-12121, CVE-2024-27983',
  after: 'RFC 9112 9.3.2, 9.6; Kettle, "HTTP/1.1 must die" (2025)',
} as const
export type Class = keyof typeof SOURCES

export interface Hostile {
  readonly of: Class
  readonly what: string
  /** latin1 */
  readonly bytes: string
  readonly status: number
}

export const HOST = 'Host: a.example\r\n'
export const OPEN = `POST / HTTP/1.1\r\n${HOST}`
export const CHUNKED = `${OPEN}Transfer-Encoding: chunked\r\n\r\n`
export const LAST = '0\r\n\r\n'

export function list(of: Class, status: number, rows: Readonly<Record<string, string>>): readonly Hostile[] {
  return Object.entries(rows).map(([what, bytes]) => ({ of, what, bytes, status }))
}

/** The values of a field, each on a POST with five bytes of body. */
export function fields(of: Class, rows: Readonly<Record<string, string>>, body = 'hello'): readonly Hostile[] {
  return Object.entries(rows).map(([what, lines]) => ({
    of,
    what,
    bytes: `${OPEN}${lines}\r\n\r\n${body}`,
    status: 400,
  }))
}

export function trailer(line: string): string {
  return `${CHUNKED}5\r\nhello\r\n0\r\n${line}\r\n\r\n`
}

export function get(target: string): string {
  return `GET ${target} HTTP/1.1\r\n${HOST}\r\n`
}
