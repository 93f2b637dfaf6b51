// The last errors that clients got, grouped by cause and backend.

import { h, list, text, once } from './dom.js';
import { ms, time, short, plural, count } from './format.js';
import { get } from './api.js';

const REFRESH = 2000; // ms
const FIRST = 6; // errors of a group, before all are asked for

const causeOf = (r) => r.cause || `backend answered ${r.status}`;

function group(records) {
  const groups = new Map();
  for (const r of records) {
    const key = `${causeOf(r)}\n${r.pool ?? ''}\n${r.backend ?? ''}`;
    const g = groups.get(key) ?? { key, cause: causeOf(r), pool: r.pool, backend: r.backend, hint: '', records: [] };
    g.hint ||= r.hint ?? '';
    g.records.push(r);
    groups.set(key, g);
  }
  return [...groups.values()].sort((a, b) => b.records.length - a.records.length || a.key.localeCompare(b.key));
}

function attempts(r) {
  if (!r.attempts?.length) return h('p', { class: 'soft small' }, 'No backend was tried.');
  return h('ol', { class: 'attempts' }, r.attempts.map((a, i) => h('li', {}, h('span', { class: 'tag' }, `attempt ${i + 1}`), ' ', h('code', {}, a.backend), ' ',
    a.cause ? h('strong', {}, a.cause) : `answered ${a.status}`, a.class ? h('span', { class: 'soft' }, ` ${a.class.replaceAll('_', ' ')}`) : '',
    h('span', { class: 'soft' }, ` after ${ms(a.took_ms)}`))));
}

function entry(r) {
  const facts = [['Request id', r.request_id], ['Route', r.route], ['Listener', r.listener], ['Client', r.client], ['Host', r.host]].filter(([, v]) => v);
  return h('li', { class: 'error', 'data-request': r.request_id },
    h('div', { class: 'line' }, h('time', { class: 'soft' }, time(r.at)), h('code', {}, `${r.method ?? ''} ${r.path ?? ''}`),
      h('span', { class: 'number' }, r.status ? String(r.status) : 'cut off'), h('span', { class: 'number soft' }, ms(r.total_ms))),
    r.detail ? h('p', { class: 'mono small' }, r.detail) : null,
    h('dl', { class: 'facts small' }, facts.map(([k, v]) => h('div', {}, h('dt', {}, k), h('dd', { class: k === 'Request id' ? 'mono' : '' }, v)))), attempts(r));
}

function groupPart(first) {
  const times = h('b', { class: 'number' }), last = h('span', { class: 'soft small when' }), hint = h('p', { class: 'hint' });
  const rows = h('ol', { class: 'errors' });
  const where = [first.backend && h('code', {}, first.backend), first.pool && h('span', { class: 'soft' }, ` in pool ${first.pool}`)].filter(Boolean);
  const details = h('details', { class: 'group', 'data-cause': first.cause, toggle: () => fill() },
    h('summary', {}, times, h('span', { class: 'what' }, h('strong', {}, first.cause), ' ', where.length ? where : h('span', { class: 'soft' }, 'before a backend was chosen')), last), hint, rows);
  let now = first;
  let most = FIRST;
  const rest = h('button', { type: 'button', class: 'rest', click: () => { most = 200; fill(); } });
  details.append(rest);
  const fill = () => {
    if (!details.open) return;
    const shown = now.records.slice(0, most);
    once(rows, shown.map((r) => [r.at, r.request_id]), () => shown.map(entry));
    text(rest, `Show all ${now.records.length}`);
    rest.hidden = now.records.length <= most;
  };
  return {
    el: details,
    update(g) {
      now = g;
      text(times, `${count(g.records.length)}×`);
      text(last, `last ${short(g.records[0].at)} ago`);
      text(hint, g.hint);
      hint.hidden = !g.hint;
      fill();
    },
  };
}

export function errors(wanted) {
  const find = h('input', { type: 'search', placeholder: 'cause, backend, pool, route, path or request id', 'aria-label': 'Find errors', value: wanted, input: () => draw() });
  const total = h('p', { class: 'soft', role: 'status' }), groups = h('div', { class: 'groups' });
  const none = h('div', { class: 'empty' });
  let records = null, all = 0;
  const el = h('div', { class: 'page', 'data-page': 'errors' },
    h('header', { class: 'pool-head' }, h('div', {}, h('h1', {}, 'Errors'), total), h('div', { class: 'find' }, find)), h('section', { class: 'card flush' }, groups, none));

  function draw() {
    if (!records) return;
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = records.filter((r) => words.every((w) => [causeOf(r), r.backend, r.pool, r.route, r.path, r.request_id, r.detail].some((v) => v?.toLowerCase().includes(w))));
    text(total, records.length ? `The last ${count(records.length)} of ${plural(all, 'error')} since the start, made by Steelyard or passed on from backends.` : 'Errors made by Steelyard or passed on from backends are kept here, the last 200.');
    list(groups, group(shown), (g) => g.key, groupPart);
    none.hidden = shown.length > 0;
    once(none, [records.length === 0, find.value], ([empty]) => (empty ? [h('strong', {}, 'No errors since the start'), 'Clients got everything they asked for.'] : [h('strong', {}, 'None of the last errors match'), 'Search for a part of a cause, address, route or request id.']));
  }
  async function load() {
    try {
      const got = await get('/api/v1/errors');
      records = got.errors;
      all = got.total;
      draw();
    } catch { /* the stream says when the API is away */ }
  }
  load();
  const timer = setInterval(load, REFRESH);
  return { el, title: 'Errors', nav: 'errors', close: () => clearInterval(timer) };
}
