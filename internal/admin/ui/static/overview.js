// The first page: how all is going, what is wrong first.

import { h, list, text, attr, once } from './dom.js';
import { rate, share, ms, count, since, time, plural } from './format.js';
import { get } from './api.js';
import { spark } from './chart.js';
import { banners } from './banners.js';
import { reload } from './dialogs.js';
import { timeline } from './timeline.js';
import { trend } from './model.js';
import { lock } from './mode.js';
import { kindOf, wordOf, rankOf } from './states.js';

/** figure is a number with its name and where it has been going. */
function figure(label, key, tone) {
  const value = h('b'), more = h('span', { class: 'more' }), line = key && spark(tone);
  const el = h('div', { class: 'figure' }, h('span', { class: 'name' }, label), value, more, line?.el);
  return {
    el,
    update(shown, note = '') {
      text(value, shown);
      text(more, note);
      if (line) line.draw(trend(key));
    },
  };
}

function numbers() {
  const rps = figure('Requests per second', 'rps', 0);
  const bad = figure('Errors, share of responses', 'errors', 1);
  const lat = figure('Latency, 95 of 100 below', 'p95', 4);
  const conns = figure('Client connections', 'connections', 5);
  const el = h('section', { class: 'figures', 'aria-label': 'All pools together' }, rps.el, bad.el, lat.el, conns.el);
  return {
    el,
    update({ total: t }) {
      rps.update(rate(t.rps), `${count(t.inFlight)} in flight`);
      bad.update(share(t.errors), `${rate(t.errorRate)} per second`);
      lat.update(ms(t.p95), `p50 ${ms(t.p50)} · p99 ${ms(t.p99)}`);
      conns.update(count(t.connections), t.waiting ? `${count(t.waiting)} requests wait in queues` : 'no request waits in a queue');
    },
  };
}

/** wrong is how badly a pool is off: pools are sorted by it. */
function wrong(p) {
  if (p.failOpen || p.healthy === 0) return 4;
  if (p.exhausted) return 3;
  if (p.sources.some((s) => s.error || s.held.length || s.heldCount)) return 2;
  return p.healthy < p.total ? 1 : 0;
}

const KIND = ['ok', 'warn', 'warn', 'bad', 'bad'];

function card(first) {
  const shape = h('i', { 'aria-hidden': 'true' }), healthy = h('span'), note = h('p', { class: 'soft small' });
  const cells = h('ul', { class: 'cells' });
  const line = spark(0);
  const values = ['requests/s', 'errors', 'p95', 'in flight'].map((name) => ({ name, el: h('dd') }));
  const el = h('a', { class: 'card pool', href: `#/pool/${encodeURIComponent(first.name)}`, 'data-pool': first.name },
    h('div', { class: 'head' }, h('h3', {}, first.name), h('span', { class: 'tag' }, first.policy)),
    h('p', { class: 'state' }, shape, healthy), cells,
    h('dl', { class: 'values' }, values.map((v) => h('div', {}, h('dt', {}, v.name), v.el))), line.el, note);
  return {
    el,
    update(p) {
      const kind = KIND[wrong(p)];
      attr(healthy.parentNode, 'class', `state ${kind}`);
      attr(shape, 'class', `shape ${kind}`);
      text(healthy, p.total ? `${p.healthy} of ${p.total} healthy` : 'no members');
      [rate(p.rps), share(p.errors), ms(p.p95), count(p.inFlight)].forEach((v, i) => text(values[i].el, v));
      const sorted = p.backends.slice().sort((a, b) => rankOf(a.state) - rankOf(b.state)).slice(0, 40);
      once(cells, sorted.map((b) => [b.state, b.address]), (all) => all.map(([state, address]) =>
        h('li', { title: `${address}: ${wordOf(state)}` }, h('i', { class: `shape ${kindOf(state)}`, 'aria-hidden': 'true' }), h('span', { class: 'hidden' }, `${address} ${wordOf(state)}`))));
      line.draw(trend(`pool/${p.name}/rps`));
      const tally = new Map();
      for (const b of p.backends) if (b.state !== 'healthy') tally.set(b.state, (tally.get(b.state) ?? 0) + 1);
      text(note, [...tally].map(([state, n]) => `${n} ${wordOf(state)}`).join(' · ') || (p.total ? 'All take requests.' : 'Nothing can be sent here.'));
    },
  };
}

function configuration() {
  const facts = h('p', { class: 'soft' }), changes = h('ul', { class: 'changes' });
  const again = h('button', { type: 'button', 'data-do': 'reload', click: () => reload() }, 'Reload');
  const el = h('section', { class: 'card' },
    h('div', { class: 'head' }, h('h2', {}, 'Configuration'), again), facts, changes);
  return {
    el,
    update({ generation: g }) {
      lock(again);
      text(facts, `Generation ${g.id}${g.since ? `, in force for ${since(g.since)}` : ''}${g.file ? `, from ${g.file.split('/').at(-1)}` : ''}. ${plural(g.reloads, 'reload')}, ${g.failed} refused.`);
      attr(facts, 'title', g.file);
      once(changes, g.changes, (all) => (all.length ? all.map((c) => h('li', {}, c)) : h('li', { class: 'soft' }, g.reloads ? 'The last reload changed nothing.' : 'Nothing was reloaded since the start.')));
    },
  };
}

function audit() {
  const rows = h('ol', { class: 'orders' });
  const el = h('section', { class: 'card' }, h('h2', {}, 'Orders'), rows);
  const load = async () => {
    try {
      const { orders } = await get('/api/v1/audit');
      once(rows, orders.slice(0, 8), (all) => (all.length ? all.map((o) => h('li', {},
        h('time', { class: 'soft' }, time(o.at)),
        h('span', {}, [o.what, o.backend, o.pool && `in ${o.pool}`, o.value && `(${o.value})`].filter(Boolean).join(' '), h('span', { class: 'soft' }, ` by ${o.who}`)),
        h('span', { class: o.result === 'ok' ? 'soft' : 'fault' }, o.result === 'ok' ? 'done' : o.result))) : h('li', { class: 'soft' }, 'Nobody has changed anything by hand since the start.')));
    } catch { /* the stream says when the API is away */ }
  };
  load();
  const timer = setInterval(load, 3000);
  return { el, close: () => clearInterval(timer) };
}

export function overview() {
  const warn = banners(), figures = numbers(), conf = configuration(), told = audit(), charts = timeline('');
  const cards = h('div', { class: 'cards' });
  const loading = h('p', { class: 'empty' }, h('strong', {}, 'Waiting for the first figures'), 'They come once a second.');
  const pools = h('section', {}, h('h2', { class: 'over' }, 'Pools'), cards);
  const el = h('div', { class: 'page', 'data-page': 'overview' }, h('h1', { class: 'hidden' }, 'Overview'), loading);
  return {
    el, title: 'Overview', nav: 'overview', close() {
      told.close();
      charts.close();
    },
    update(state) {
      if (loading.isConnected) loading.replaceWith(warn.el, figures.el, pools, charts.el, h('div', { class: 'two' }, conf.el, told.el));
      warn.update(state);
      figures.update(state);
      conf.update(state);
      charts.update(state);
      const sorted = state.pools.slice().sort((a, b) => wrong(b) - wrong(a));
      if (!sorted.length) once(cards, 0, () => h('p', { class: 'empty' }, h('strong', {}, 'There are no pools'), 'Routes of this configuration redirect or answer themselves.'));
      else list(cards, sorted, (p) => p.name, card);
    },
  };
}
