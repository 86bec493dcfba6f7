/** docs/CONFIGURATION.md, made from the schema, so that it cannot say anything else than the parser does. */
import type { Field, Fields, Kind } from './kind.ts'
import { schema } from './schema.ts'
import { TIMEOUT_EVENTS, type TimeoutEvents, WEBSOCKET_TIMEOUT_EVENTS } from './timeouts.ts'
import { websocket } from './websocket-schema.ts'

const websocketFields = websocket.fields

const INTRODUCTION = `# Configuration

<!-- Made by \`npx tsx src/config/generate.ts\` from src/config/schema.ts. Changes here are lost. -->

One YAML file, read once at the start. \`hopgate check -c FILE\` says everything that is wrong with it at once, or shows the
effective timeouts of every route and where each came from. Editors check it too, with this as its first line:

\`\`\`yaml
# yaml-language-server: $schema=./hopgate.schema.json
\`\`\`

- [Writing values](#writing-values)
- [Where a value comes from](#where-a-value-comes-from)
- [The ten timeouts](#the-ten-timeouts)
- [Every key](#every-key)
- [What is refused, what is warned about](#what-is-refused-what-is-warned-about)
- [A full example](#a-full-example)

## Writing values

| kind | written as | |
|---|---|---|
| duration | \`250ms\`, \`5s\`, \`1.5m\`, \`1h\` | One number and one unit, 1ms to 24h. \`0\` is an error: "no limit" is spelled \`off\` (or \`false\`), and only where the tables below say so. |
| size | \`512B\`, \`16KiB\`, \`10MiB\`, \`1GiB\` | Powers of 1024. |
| rate | \`240B/s\`, \`1KiB/s\` | |
| address | \`0.0.0.0:8080\`, \`"[::1]:8080"\` | Port 0 lets the kernel choose. |

\`\${NAME}\` stands for an environment variable, \`\${NAME:-default}\` for one that may be unset or empty; \`$\${\` is a literal \`\${\`. They are
expanded inside values, not in keys, after the YAML was read: what a variable holds can never become YAML structure. An
unquoted value is given its type after the expansion, so \`max_connections: \${MAX:-100}\` is a number. Inside \`{ }\` and \`[ ]\` YAML
itself needs quotes around them. A variable that is not set and has no default is an error.

An unknown key is an error, and so is a key written twice. A key with nothing behind it is an empty section.

## Where a value comes from

\`timeouts\`, \`on_client_abort\` and \`limits\` can be written at three levels. The most specific wins, value by value:

**built-in < \`defaults\` < \`upstreams.NAME\` < \`routes[i]\`**

Every effective value keeps its origin: \`check\` and \`/-/routes\` show it. On a route with \`streaming: true\` there is no \`request\`
deadline, and the built-in \`body_idle\` is 5m; both then have the origin \`streaming\`. A \`body_idle\` that is written at any of the three
levels, \`defaults\` too, holds for streaming routes as well.
`

const RULES = `## What is refused, what is warned about

Beside what the tables say, these are errors:

- two routes of the same name; a route to an unknown upstream; an endpoint listed twice in one upstream
- two routes with the same host and path whose methods overlap
- \`match\` with neither or both of \`path\` and \`path_prefix\`
- a stage timeout written at the same level as, or a more specific level than, a \`request\` deadline that is not longer: it could never
  fire. One that is only inherited is kept, and shown as \`covered by request\`. \`off\` is never covered.
- \`timeouts.request\` on a route with \`streaming: true\`
- a \`ca_file\` that cannot be read or holds no certificate
- a name under \`neighbours.upstreams\` that is no upstream of this file
- \`websocket\` on a route whose \`match.methods\` lack GET; its keys for \`mode: relay\` beside \`mode: tunnel\`; an \`idle_timeout\` that is not
  shorter than the \`max_lifetime\` beside it; a \`backoff\` longer than its \`max_backoff\`
- the keys reserved for later versions: "not supported yet"

These are warnings, at the end of \`check\` and in the log at the start:

- queue, connect and response_headers together exceed \`request\`: the deadline can fire in their stead
- \`admin.address\` is not a loopback address
- \`drain.deadline\` is shorter than the longest \`request\` deadline
- an upstream that no route uses; an https upstream with \`tls.verify: false\`

How the timeouts here agree with those of the neighbours is not \`check\`'s business but [\`hopgate lint\`](LINT.md)'s.
`

/** `example`: the text of config/example.yaml. */
export function reference(example: string): string {
  return [
    INTRODUCTION,
    timeoutTable(),
    '## Every key\n',
    ...sections('', schema, new Map()),
    RULES,
    `## A full example\n\nAlso in \`config/example.yaml\`.\n\n\`\`\`yaml\n${example.trimEnd()}\n\`\`\`\n`,
  ].join('\n')
}

function timeoutTable(): string {
  const fields = new Map(leaves('', schema))
  const row = ([name, events]: readonly [string, TimeoutEvents]): string => {
    const place = name.startsWith('listen.') ? name : `defaults.timeouts.${name}`
    const field = fields.get(place) ?? websocketFields[name.replace('websocket.', '') as keyof typeof websocketFields]
    const off = field?.kind.type.includes('off') ? 'yes' : 'no'
    const { hop, starts, ends, restarts, outcome, status } = events
    return `| \`${name}\` | ${hop} | ${field?.builtIn} | ${off} | ${starts} | ${ends} | ${restarts ?? '-'} | ${outcome} | ${status} |`
  }
  return `## The ten timeouts

Each is the time between two events, and fires within \`[t, t + max(50 ms, 2 %)]\` of its value on an idle machine. The four
\`listen.timeouts\` are the client hop's and the same for all routes; the others are each route's own.

| name | hop | built-in | may be \`off\` | starts | ends | restarts | outcome, stage | status |
|---|---|---|---|---|---|---|---|---|
${Object.entries(TIMEOUT_EVENTS).map(row).join('\n')}

\`listen.min_body_rate\` bounds what \`body_idle\` cannot, one byte every 9 s: an upload that is slower on average is a \`client_timeout\` too.

On a route with [\`websocket\`](#routeswebsocket) the ten hold until both sides have shaken hands, and these from then on:

| name | hop | built-in | may be \`off\` | starts | ends | restarts | outcome, stage | status |
|---|---|---|---|---|---|---|---|---|
${Object.entries(WEBSOCKET_TIMEOUT_EVENTS).map(row).join('\n')}
`
}

function leaves(path: string, kind: Kind<unknown>): readonly (readonly [string, Field<unknown>])[] {
  if (kind.form.is !== 'section') return []
  return Object.entries(kind.form.fields).flatMap(([key, field]) => {
    const inner = path === '' ? key : `${path}.${key}`
    return [[inner, field] as const, ...leaves(inner, field.kind)]
  })
}

/** One heading and table for each section; a kind that appears at several levels is described where it appears first. */
function sections(path: string, kind: Kind<unknown>, described: Map<Fields, string>): readonly string[] {
  const { form } = kind
  if (form.is === 'list') return sections(`${path}[]`, form.item, described)
  if (form.is === 'dictionary') return sections(`${path}.NAME`, form.item, described)
  if (form.is !== 'section') return []
  described.set(form.fields, path)
  // Two keys of one section may be of one kind, as `request_headers` and `response_headers` are: the first gets the heading.
  const known = new Map(described)
  const rows = Object.entries(form.fields).map(([key, field]) => row(key, field, below(path, key), known))
  const heading = path === '' ? '### Top level' : `### \`${path}\``
  const off = form.off ? '\nMay be `off` as a whole.\n' : ''
  const later =
    form.later.length === 0 ? '' : `\nReserved for later: ${form.later.map(key => `\`${key}\``).join(', ')}.\n`
  const table = `${heading}\n${off}\n| key | type | built-in | allowed | meaning |\n|---|---|---|---|---|\n${rows.join('\n')}\n${later}`
  const inner = Object.entries(form.fields).flatMap(([key, field]) => {
    const fields = fieldsOf(field.kind)
    return fields !== undefined && described.has(fields) ? [] : sections(below(path, key), field.kind, described)
  })
  return [table, ...inner]
}

function row(key: string, field: Field<unknown>, path: string, known: Map<Fields, string>): string {
  const { kind } = field
  const fields = fieldsOf(kind)
  const first = fields === undefined ? undefined : known.get(fields)
  const heading = kind.form.is === 'list' ? `${path}[]` : kind.form.is === 'dictionary' ? `${path}.NAME` : path
  if (fields !== undefined && first === undefined) known.set(fields, heading)
  const allowed = fields === undefined ? kind.allowed : `see [\`${first ?? heading}\`](#${anchor(first ?? heading)})`
  const builtIn = field.builtIn === null ? (field.required ? '**required**' : '-') : `\`${field.builtIn}\``
  return `| \`${key}\` | ${kind.type} | ${builtIn} | ${cell(allowed)} | ${cell(field.doc)} |`
}

/** The keys behind a kind: its own, or those of its items. */
function fieldsOf({ form }: Kind<unknown>): Fields | undefined {
  if (form.is === 'section') return form.fields
  return form.is === 'scalar' ? undefined : fieldsOf(form.item)
}

function below(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

/** As GitHub makes them of headings. */
function anchor(heading: string): string {
  return heading.toLowerCase().replace(/[^a-z0-9_-]/g, '')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
