// What is wrong now, each with what to do about it. The worst comes first.

import { h, list, text, once } from './dom.js';
import { since, until, plural, count } from './format.js';
import { release, reload } from './dialogs.js';
import { lock } from './mode.js';

const names = (addresses) => addresses.slice(0, 6).join(', ') + (addresses.length > 6 ? ` and ${addresses.length - 6} more` : '');

function ofGeneration(g) {
  const out = [];
  if (g.errors?.length) {
    out.push({
      key: 'reload', kind: 'bad', title: `The last reload failed; generation ${g.id} goes on`,
      lines: g.errors, code: true, todo: `Mend ${g.file || 'the file'} and reload. Nothing has changed for the traffic.`,
      button: 'Reload', act: () => reload(),
    });
  }
  if (g.rolledBack) {
    out.push({ key: 'rollback', kind: 'bad', title: 'The last reload was undone', lines: [g.rolledBack], todo: 'The configuration before it is in force again. See what it changed, mend it and reload.' });
  }
  return out;
}

function ofCertificate(c) {
  const over = c.until <= Date.now(), hosts = names(c.hosts), out = [];
  if (c.expiring) {
    out.push({
      key: `expiry/${c.listener}/${c.file}`, kind: 'bad', title: `A certificate of listener ${c.listener} ${over ? 'has expired' : `expires in ${until(c.until)}`}`,
      lines: [`${c.file} for ${hosts}`], todo: over ? 'Clients refuse it. Put a new one in its place; it is taken without a reload.' : 'Its renewal seems to have failed. Put a new one in its place; it is taken without a reload.',
    });
  }
  if (c.problem) {
    out.push({
      key: `cert/${c.listener}/${c.file}`, kind: 'warn', title: c.file ? `A certificate of listener ${c.listener} cannot be exchanged` : `The CAs of clients of listener ${c.listener} cannot be exchanged`,
      lines: [c.problem], code: true, todo: 'What was there before holds. Mend the files; they are taken without a reload.',
    });
  }
  return out;
}

function ofPool(p) {
  const out = [], link = `#/pool/${encodeURIComponent(p.name)}`;
  if (p.failOpen) {
    out.push({
      key: `open/${p.name}`, kind: 'bad', title: `Pool ${p.name} fails open: no backend is healthy, so all are used`, link,
      lines: [p.failOpenSince ? `for ${since(p.failOpenSince)}` : '', p.why].filter(Boolean), todo: 'See what the checks say, then start or mend the backends. Requests may fail until then.',
    });
  } else if (p.healthy === 0) {
    out.push({
      key: `none/${p.name}`, kind: 'bad', title: `Pool ${p.name} has no backend that takes requests`, link,
      lines: [p.why].filter(Boolean), todo: p.total ? 'Enable or mend a backend. Until then its requests get 503.' : 'It has no members. See what its sources say. Until then its requests get 503.',
    });
  }
  if (p.exhausted) {
    out.push({
      key: `queue/${p.name}`, kind: 'bad', title: `The queue of pool ${p.name} is exhausted`, link,
      lines: [`${plural(p.waiting, 'request')} waiting${p.queueSize ? ` of ${count(p.queueSize)}` : ''}; what comes beyond is refused with 503`],
      todo: 'Add backends, or raise max_connections or queue.size. A slow backend shows in its latency.',
    });
  }
  for (const src of p.sources) {
    if (src.held.length || src.heldCount) {
      const all = src.held, n = all.length || src.heldCount;
      out.push({
        key: `held/${p.name}/${src.name}`, kind: 'warn', title: `Pool ${p.name}: ${plural(n, 'removal')} held back`, link,
        lines: [src.alarm, all.length ? names(all) : '', src.alarmUntil ? `carried out in ${until(src.alarmUntil)} unless they come back` : ''].filter(Boolean),
        todo: `If ${src.name} is right, release them. If it has lost its members, mend it: they stay meanwhile.`,
        button: 'Release', act: () => release(p.name, all.length ? all : new Array(n).fill('?')),
      });
    }
    if (src.error) {
      out.push({
        key: `source/${p.name}/${src.name}`, kind: 'warn', title: `Pool ${p.name}: source ${src.name} cannot answer`, link,
        lines: [src.error, src.errorSince ? `for ${since(src.errorSince)}` : ''].filter(Boolean), todo: `Its last ${plural(src.members, 'member')} stay${src.members === 1 ? 's' : ''}. Look after the source; nothing else is needed.`,
      });
    }
  }
  return out;
}

const weight = { bad: 0, warn: 1 };
const MOST = 12; // banners at a time

/** banners is the list of what is wrong; update(state) keeps it so. only names
 *  the pool it is for; without it, it is for all and for the configuration. */
export function banners(only) {
  const el = h('div', { class: 'banners', role: 'region', 'aria-label': 'What is wrong', 'aria-live': 'polite' });
  return {
    el,
    update(state) {
      const all = state.pools.filter((p) => !only || p.name === only).flatMap(ofPool);
      if (!only) all.push(...ofGeneration(state.generation), ...state.certificates.flatMap(ofCertificate));
      if (only) for (const one of all) delete one.link;
      all.sort((a, b) => weight[a.kind] - weight[b.kind]);
      const over = all.splice(MOST);
      if (over.length) all.push({ key: 'more', kind: 'warn', title: `${over.length} more are wrong`, lines: [], todo: 'The pools are listed below, what is wrong first.' });
      list(el, all, (one) => one.key, banner);
      el.hidden = all.length === 0;
    },
  };
}

function banner(first) {
  let now = first;
  const title = h('h2'), lines = h('div', { class: 'said-by' }), todo = h('p', { class: 'todo' }), actions = h('div', { class: 'actions' });
  const el = h('section', { class: `banner ${first.kind}`, 'data-key': first.key },
    h('i', { class: `shape ${first.kind}`, 'aria-hidden': 'true' }), h('div', {}, title, lines, todo), actions);
  if (first.link) actions.append(h('a', { class: 'go', href: first.link }, 'Look'));
  const button = first.button && h('button', { type: 'button', class: 'main', click: () => now.act() }, first.button);
  if (button) actions.append(button);
  return {
    el,
    update(next) {
      now = next;
      if (button) lock(button);
      text(title, next.title);
      text(todo, next.todo);
      // What changes every second is not read aloud again.
      once(lines, next.lines, (all) => all.map((one) => h(next.code ? 'pre' : 'p', { 'aria-live': 'off' }, one)));
    },
  };
}
