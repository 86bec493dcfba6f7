/** Which route takes a request, what the upstream is asked for, and what is said where there is none. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { answer } from '../../src/prove/faults.ts'
import { startUpstream } from '../../src/prove/faulty-upstream.ts'
import { requestOnce } from '../../src/prove/raw-client.ts'
import { startTestGateway } from '../support/gateway.ts'

const ROUTES = [
  ['general', '{ path_prefix: / }'],
  ['api', '{ path_prefix: /api }'],
  ['orders', '{ path_prefix: /api/orders }'],
  ['exact', '{ path: /api/orders/latest }'],
  ['colon', '{ path_prefix: "/v1/a:b" }'],
  ['shop', '{ host: shop.example, path_prefix: / }'],
  ['shop-cart', '{ host: shop.example, path: /cart }'],
  ['v6', '{ host: "[::1]", path_prefix: /six }'],
] as const

async function start(t: TestContext, routes: readonly (readonly [string, string, string?])[]) {
  const upstream = await startUpstream(answer())
  t.after(() => upstream.close())
  const gw = await startTestGateway(t, {
    upstreams: `  up: { endpoints: ["${upstream.url}"] }`,
    routes: routes
      .map(([name, match, more = '']) => `  - { name: ${name}, match: ${match}, upstream: up ${more} }`)
      .join('\n'),
  })
  return { upstream, gw }
}

/** Host, target, the route that takes it, the target that the upstream gets. */
const TAKEN: readonly (readonly [string, string, string, string?])[] = [
  ['a.example', '/', 'general'],
  ['a.example', '/other?x=1&y=%20', 'general'],
  ['a.example', '/api', 'api'],
  ['a.example', '/api/', 'api'],
  ['a.example', '/api?q', 'api'],
  ['a.example', '/apix', 'general'],
  ['a.example', '/API/orders', 'general'],
  ['a.example', '/api/orders', 'orders'],
  ['a.example', '/api/orders/7', 'orders'],
  ['a.example', '/api/orders/latest', 'exact'],
  ['a.example', '/api/orders/latest?x', 'exact'],
  ['a.example', '/api/orders/latest/', 'orders'],
  ['a.example', '/v1/a:b/c', 'colon'],
  ['a.example', '/v1/axb', 'general'],
  ['a.example', '//api/orders', 'general'],
  ['shop.example', '/api/orders', 'shop'],
  ['SHOP.example:8080', '/anything', 'shop'],
  ['shop.example', '/cart', 'shop-cart'],
  ['shop.example', '/cart/1', 'shop'],
  ['shop.example.evil', '/cart', 'general'],
  ['[::1]:8080', '/six/1', 'v6'],
  ['[::1]', '/api', 'api'],
  ['[::1]', '/api/orders/7', 'orders'],
  ['[::1]', '/other', 'general'],
  // What is matched is what is forwarded.
  ['a.example', '/api/./orders', 'orders', '/api/orders'],
  ['a.example', '/api/x/../orders/7?a=../b', 'orders', '/api/orders/7?a=../b'],
  ['a.example', '/api/orders/..', 'api', '/api/'],
  ['a.example', '/%61pi/%6frders', 'orders', '/api/orders'],
  ['a.example', '/api/x/%2e%2E/orders', 'orders', '/api/orders'],
  ['a.example', '/api/a%20b;c=d', 'api', '/api/a%20b;c=d'],
  ['a.example', 'http://a.example/api/1', 'api', '/api/1'],
  ['a.example', 'http://a.example', 'general', '/'],
]

test('the most specific route takes a request: host before none, exact before prefix, longer before shorter', async t => {
  const { upstream, gw } = await start(t, ROUTES)
  // The second time from memory; after the other order of hosts, too.
  for (const [host, target, route, forwarded = target] of [...TAKEN, ...TAKEN.toReversed()]) {
    const what = `${host} ${target}`
    const response = await requestOnce(gw.port, { path: target, headers: [['Host', host]] })
    assert.equal(response.status, 200, what)
    const line = await gw.line()
    assert.equal(line.route, route, what)
    assert.equal(line.path, forwarded.replace(/\?.*/, ''), what)
    assert.equal((await upstream.nextRequest()).target, forwarded, what)
  }
})

test('what is remembered of a path is of one method, and of no query', async t => {
  const { upstream, gw } = await start(t, [
    ['reads', '{ path_prefix: /x, methods: [GET] }'],
    ['writes', '{ path_prefix: /x, methods: [POST] }'],
  ])
  const asked = [
    ['GET', '/x/1?a', 'reads'],
    ['POST', '/x/1?a', 'writes'],
    ['GET', '/x/1?b', 'reads'],
    ['PUT', '/x/1', '_none'],
    ['POST', '/x/1', 'writes'],
  ] as const
  for (const [method, path, route] of asked) {
    await requestOnce(gw.port, { method, path, ...(method === 'GET' ? {} : { body: 'x' }) })
    assert.equal((await gw.line()).route, route, `${method} ${path}`)
    if (route !== '_none') assert.equal((await upstream.nextRequest()).target, path)
  }
})

test('a request that no route takes: 404 no_route, counted under _none', async t => {
  const { upstream, gw } = await start(t, [
    ['api', '{ path_prefix: /api }'],
    ['shop', '{ host: shop.example, path: /cart }'],
  ])
  const nowhere = [
    ['a.example', '/'],
    ['a.example', '/apix'],
    ['a.example', '/cart'],
    ['shop.example', '/cart/1'],
  ] as const
  for (const [host, path] of nowhere) {
    for (const method of ['GET', 'POST', 'HEAD']) {
      const body = method === 'POST' ? { body: 'x' } : {}
      const response = await requestOnce(gw.port, { method, path, headers: [['Host', host]], ...body })
      assert.deepEqual([response.status, response.complete], [404, true], `${method} ${host} ${path}`)
      const line = await gw.line()
      assert.deepEqual([line.outcome, line.stage, line.party, line.route], ['no_route', 'route', 'client', '_none'])
    }
  }
  assert.equal(await gw.metric('hopgate_requests_total', { route: '_none', code: '404', outcome: 'no_route' }), 12)
  assert.equal(upstream.counters.requests, 0)
})

test('a request whose method only is not routed: 405 with Allow, from every route of that path', async t => {
  const { upstream, gw } = await start(t, [
    ['read', '{ path_prefix: /items, methods: [GET, HEAD] }'],
    ['write', '{ path: /items/new, methods: [POST] }'],
    ['other', '{ host: shop.example, path_prefix: /items, methods: [DELETE] }'],
  ])
  const ask = async (method: string, path: string, host = 'a.example') => {
    const response = await requestOnce(gw.port, { method, path, headers: [['Host', host]] })
    const allow = response.header('allow')?.split(', ').sort()
    return [response.status, allow]
  }
  assert.deepEqual(await ask('DELETE', '/items/7'), [405, ['GET', 'HEAD']])
  assert.deepEqual(await ask('PUT', '/items/new'), [405, ['GET', 'HEAD', 'POST']])
  assert.deepEqual(await ask('PUT', '/items/7', 'shop.example'), [405, ['DELETE', 'GET', 'HEAD']])
  assert.deepEqual(await ask('PUT', '/elsewhere'), [404, undefined])
  assert.equal(upstream.counters.requests, 0)
  assert.deepEqual(await ask('GET', '/items/new'), [200, undefined])
  assert.deepEqual(await ask('POST', '/items/new'), [200, undefined])
  assert.deepEqual(await ask('DELETE', '/items/7', 'shop.example'), [200, undefined])
  const line = gw.lines[0]
  assert.deepEqual([line?.outcome, line?.status, line?.['method']], ['no_route', 405, 'DELETE'])
})

test('rewritten paths and hosts: the prefix is replaced, the rest and the query stay as they came', async t => {
  const { upstream, gw } = await start(t, [
    ['moved', '{ path_prefix: /api/orders }', ', rewrite: { path_prefix: /orders }'],
    ['stripped', '{ path_prefix: /strip }', ', rewrite: { path_prefix: / }'],
    ['kept', '{ path_prefix: /kept }', ', rewrite: { host: preserve }'],
    ['named', '{ path_prefix: /named }', ', rewrite: { host: inner.example }'],
  ])
  const own = `127.0.0.1:${upstream.port}`
  const cases = [
    ['/api/orders/7?x=/api/orders', '/orders/7?x=/api/orders', own],
    ['/api/orders', '/orders', own],
    ['/api/orders?x', '/orders?x', own],
    ['/strip/a/b', '/a/b', own],
    ['/strip', '/', own],
    ['/strip?x', '/?x', own],
    ['/kept/1', '/kept/1', 'a.example'],
    ['/named/1', '/named/1', 'inner.example'],
  ] as const
  for (const [path, target, host] of cases) {
    assert.equal((await requestOnce(gw.port, { path, headers: [['Host', 'a.example']] })).status, 200, path)
    const seen = await upstream.nextRequest()
    assert.deepEqual([seen.target, seen.header('host')], [target, host], path)
    assert.equal(seen.rawHeaders.filter(([name]) => name.toLowerCase() === 'host').length, 1)
    assert.equal(seen.header('x-forwarded-host'), 'a.example')
  }
})
