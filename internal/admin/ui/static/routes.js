// The routes in the order in which they are tried, and what would become of a
// request that is not sent.

import { h, list, text } from './dom.js';
import { count, share } from './format.js';
import { get, post } from './api.js';
import { kindOf, wordOf } from './states.js';

const REFRESH = 3000; // ms

const words = (v) => (Array.isArray(v) ? v.map(words).join(', ') : v && typeof v === 'object' ? Object.entries(v).map(([k, one]) => `${k}: ${words(one)}`).join(', ') : String(v));

function matches(match) {
  const parts = Object.entries(match ?? {});
  return parts.length ? parts.map(([k, v]) => h('span', { class: 'cond' }, h('span', { class: 'soft' }, `${k} `), h('code', {}, words(v)))) : [h('span', { class: 'soft' }, 'everything')];
}

/** leads is where a route leads: pools, which have pages, or somewhere else. A split
 *  has their weights behind the names. */
function leads(r) {
  const to = r.to ?? [];
  if (r.action !== 'pool' && r.action !== 'split') return to.join(', ');
  return to.map((one, i) => [i ? ', ' : '', h('a', { href: `#/pool/${encodeURIComponent(one.split(':')[0])}` }, one)]).flat();
}

function row(first) {
  const hits = h('b');
  const el = h('tr', { 'data-route': first.name },
    h('td', { class: 'number soft', 'data-label': 'Order' }, String(first.at)), h('td', { 'data-label': 'Route' }, h('strong', {}, first.name || 'without a name'), first.line ? h('span', { class: 'soft small' }, ` line ${first.line}`) : ''),
    h('td', { class: 'conds', 'data-label': 'Match' }, matches(first.match)),
    h('td', { 'data-label': 'Does' }, h('span', { class: 'tag' }, first.action), ' ', leads(first)),
    h('td', { class: 'number', 'data-label': 'Requests' }, hits));
  return { el, update: (r) => text(hits, count(r.requests)) };
}

/** verdict is one line of an answer: its name and what it says. */
const verdict = (name, ...says) => (says.flat().filter(Boolean).length ? h('div', {}, h('dt', {}, name), h('dd', {}, says)) : null);

function answer(a) {
  const bad = Boolean(a.cause);
  const title = bad ? `It would get ${a.cause}` : a.backend ? `It would go to ${a.backend}` : a.redirect ? `It would be redirected to ${a.redirect}` : `It would be answered with ${a.status ?? 200}`;
  return [
    h('h3', { class: `state ${bad ? 'bad' : 'ok'}` }, h('i', { class: `shape ${bad ? 'bad' : 'ok'}`, 'aria-hidden': 'true' }), title),
    a.why ? h('p', {}, a.why) : null,
    h('dl', { class: 'facts' },
      verdict('Route', a.route, a.route_line ? ` (line ${a.route_line})` : ''), verdict('Does', a.action), verdict('Status', a.status), verdict('Pool', a.pool && h('a', { href: `#/pool/${encodeURIComponent(a.pool)}` }, a.pool)),
      verdict('Gates', a.gates?.join('; ')), verdict('Split', a.split), verdict('Policy', a.policy), verdict('Key', a.key), verdict('Affinity', a.affinity), verdict('Sends', a.sends && h('code', {}, a.sends))),
    a.candidates?.length ? h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Candidates' }, h('table', { class: 'candidates' },
      h('thead', {}, h('tr', {}, ['Backend', 'State', 'Share', 'Why'].map((c) => h('th', { scope: 'col', class: c === 'Share' ? 'number' : '' }, c)))),
      h('tbody', {}, a.candidates.map((c) => h('tr', { class: c.chosen ? 'chosen' : '', 'data-candidate': c.address },
        h('td', { 'data-label': 'Backend' }, h('code', {}, c.address), c.chosen ? h('span', { class: 'tag' }, 'chosen') : ''),
        h('td', { 'data-label': 'State' }, h('span', { class: `state ${kindOf(c.state)}` }, h('i', { class: `shape ${kindOf(c.state)}`, 'aria-hidden': 'true' }), wordOf(c.state))),
        h('td', { class: 'number', 'data-label': 'Share' }, share(c.share)), h('td', { 'data-label': 'Why' }, c.why)))))) : null,
    a.tried?.length ? h('details', { class: 'tried' }, h('summary', {}, `${a.tried.length} ${a.tried.length === 1 ? 'route was' : 'routes were'} looked at`),
      h('ol', {}, a.tried.map((t) => h('li', {}, h('strong', {}, t.route || 'without a name'), t.line ? h('span', { class: 'soft' }, ` line ${t.line}`) : '', `: ${t.why}`)))) : null,
  ].filter(Boolean);
}

/** headersOf reads "Name: value" lines. */
function headersOf(lines) {
  const out = {};
  for (const one of lines.split('\n').map((l) => l.trim()).filter(Boolean)) {
    const colon = one.indexOf(':');
    if (colon < 1) throw new Error(`“${one}” is not a header; write it as Name: value.`);
    out[one.slice(0, colon).trim()] = one.slice(colon + 1).trim();
  }
  return out;
}

function explainer() {
  const field = (id, label, attrs) => h('label', { class: `field-${id}` }, label, h(attrs.rows ? 'textarea' : 'input', { id: `q-${id}`, autocomplete: 'off', spellcheck: 'false', ...attrs }));
  const method = h('select', { id: 'q-method' }, ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].map((m) => h('option', {}, m)));
  const fault = h('p', { class: 'fault', role: 'alert' }), result = h('div', { class: 'answer', 'aria-live': 'polite' });
  const form = h('form', { class: 'question' },
    h('label', { class: 'field-method' }, 'Method', method), field('host', 'Host', { placeholder: 'shop.example.com' }), field('path', 'Path and query', { value: '/' }),
    field('client', 'Client address', { placeholder: '127.0.0.1' }), field('headers', 'Headers, one a line', { rows: 2, placeholder: 'Cookie: sy=…' }),
    h('div', { class: 'actions' }, h('button', { class: 'main', 'data-do': 'explain' }, 'Explain')));
  const value = (id) => form.querySelector(`#q-${id}`).value.trim();
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    text(fault, '');
    try {
      const question = { method: value('method'), host: value('host'), path: value('path') || '/' };
      const headers = headersOf(form.querySelector('#q-headers').value);
      if (Object.keys(headers).length) question.headers = headers;
      if (value('client')) question.client_ip = value('client');
      result.replaceChildren(...answer(await post('/api/v1/explain', question)));
    } catch (error) {
      result.replaceChildren();
      text(fault, error.message);
    }
  });
  return h('section', { class: 'card' }, h('h2', {}, 'Explain a request'),
    h('p', { class: 'soft' }, 'Describe a request to see which route takes it, which backends it could go to and why. Nothing is sent.'), form, fault, result);
}

export function routes() {
  const body = h('tbody'), none = h('p', { class: 'empty', hidden: true }, h('strong', {}, 'There are no routes'), 'Every request gets 404 with the cause no_route.');
  const el = h('div', { class: 'page', 'data-page': 'routes' }, h('h1', {}, 'Routes'), explainer(),
    h('section', { class: 'card flush' }, h('h2', {}, 'In match order'),
      h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Routes' }, h('table', { class: 'routes' },
        h('thead', {}, h('tr', {}, ['#', 'Route', 'Match', 'Does', 'Requests'].map((c, i) => h('th', { scope: 'col', class: i === 0 || i === 4 ? 'number' : '' }, c)))), body)), none));
  async function load() {
    try {
      const got = await get('/api/v1/routes');
      none.hidden = got.routes.length > 0;
      list(body, got.routes.map((r, i) => ({ ...r, at: i + 1 })), (r) => JSON.stringify([r.at, r.name, r.line, r.match, r.action, r.to]), row);
    } catch { /* the stream says when the API is away */ }
  }
  load();
  const timer = setInterval(load, REFRESH);
  return { el, title: 'Routes', nav: 'routes', close: () => clearInterval(timer) };
}
