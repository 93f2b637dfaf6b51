// One pool: its charts, and every backend with all that is known of it.

import { h, list, text, attr, once } from './dom.js';
import { rate, share, ms, count, plural } from './format.js';
import { get } from './api.js';
import { banners } from './banners.js';
import { backends } from './backends.js';
import { timeline } from './timeline.js';
import { poolDetail } from './model.js';

const REFRESH = 2000; // ms between two looks at checks, sources and meta

const STICKY = { cookie: 'sticky by cookie, which clients carry', header: 'sticky by header', client_ip: 'sticky by client address' };

// bound says how far the pool is from a limit of all its requests.
const bound = (l) => `${count(l.in_flight)} of at most ${count(l.limit)}${l.name === 'adaptive' ? ` awaiting an answer (adaptive${l.base_ms ? `, ${ms(l.base_ms)} without a queue` : ''})` : ' in flight'}`;

function head(name) {
  const facts = h('p', { class: 'soft' }), jump = h('select', { 'aria-label': 'Another pool', change: () => { location.hash = `#/pool/${encodeURIComponent(jump.value)}`; } });
  const el = h('header', { class: 'pool-head' },
    h('div', {}, h('p', { class: 'crumb small' }, h('a', { href: '#/' }, 'Overview'), ' / Pool'), h('h1', {}, name), facts),
    h('div', { class: 'actions' }, h('a', { class: 'go', href: `#/errors/${encodeURIComponent(name)}` }, 'Errors of this pool'), jump));
  return {
    el,
    update(p, names, affinity, limits = []) {
      text(facts, [`${p.healthy} of ${p.total} healthy`, p.policy, STICKY[affinity], `${rate(p.rps)} requests/s`, `${share(p.errors)} errors`, `p95 ${ms(p.p95)}`, `${count(p.inFlight)} in flight`, ...limits.map(bound), p.waiting ? `${count(p.waiting)} in the queue` : ''].filter(Boolean).join(' · '));
      once(jump, names, (all) => all.map((one) => h('option', { value: one, selected: one === name }, one)));
    },
  };
}

function sources() {
  const rows = h('ul', { class: 'sources' });
  const el = h('section', { class: 'card' }, h('h2', {}, 'Sources'), rows);
  return {
    el,
    update(all) {
      el.hidden = all.length === 0;
      list(rows, all, (one) => one.name, (first) => {
        const shape = h('i', { 'aria-hidden': 'true' }), says = h('span', { class: 'soft' });
        return {
          el: h('li', {}, shape, h('strong', {}, first.name), says),
          update(one) {
            attr(shape, 'class', `shape ${one.error ? 'bad' : one.held.length ? 'warn' : 'ok'}`);
            text(says, [plural(one.members, 'member'), one.error ? `cannot answer: ${one.error}` : 'answers', one.held.length ? `${one.held.length} held` : ''].filter(Boolean).join(' · '));
          },
        };
      });
    },
  };
}

export function pool(name) {
  const top = head(name), warn = banners(name), charts = timeline(name), origin = sources();
  let details = null, last = null, gone = false;
  const table = backends(name, refresh);
  const missing = h('p', { class: 'empty' }, h('strong', {}, 'Looking for this pool'), 'Its first figures come within a second.');
  const el = h('div', { class: 'page', 'data-page': 'pool' }, top.el, missing);

  async function refresh() {
    try {
      const got = await get(`/api/v1/pools/${encodeURIComponent(name)}`);
      details = { ...poolDetail(got), affinity: got.affinity, limits: got.limits };
      if (last && !gone) draw();
    } catch { /* the stream says when the API is away, and a pool that is gone is said below */ }
  }
  function draw() {
    const p = last.pools.find((one) => one.name === name);
    if (!p) {
      if (!missing.isConnected) el.replaceChildren(top.el, missing);
      missing.replaceChildren(h('strong', {}, `There is no pool ${name}`), h('a', { href: '#/' }, 'See those there are'));
      return;
    }
    if (missing.isConnected) el.replaceChildren(top.el, warn.el, table.el, charts.el, origin.el);
    top.update(p, last.pools.map((one) => one.name), details?.affinity, details?.limits);
    warn.update(last);
    table.update(p, details?.by, details?.affinity);
    origin.update(details?.sources ?? []);
  }
  refresh();
  const timer = setInterval(refresh, REFRESH);
  return {
    el, title: `Pool ${name}`, nav: 'overview',
    update(state) {
      last = state;
      draw();
      charts.update(state);
    },
    close() {
      gone = true;
      clearInterval(timer);
      charts.close();
    },
  };
}
