// The table of a pool's backends: one row each, with what can be done to it.

import { h, s, list, text, attr, once } from './dom.js';
import { rate, share, ms, count, short } from './format.js';
import { stateBadge, detail, rankOf } from './states.js';
import { orders } from './dialogs.js';
import { lock } from './mode.js';

const COLUMNS = ['Backend', 'State', 'Weight', 'Load', 'Share of traffic', 'Errors', 'First byte', 'Last 60 checks', 'Connections', 'Actions'];

/** shareBar shows the share of traffic as a bar and the intended one as a mark
 *  on it. */
function shareBar() {
  const bar = s('rect', { class: 'is', x: 0, y: 3, height: 6 }), mark = s('rect', { class: 'meant', y: 0, width: 2, height: 12 });
  const value = h('b'), meant = h('span', { class: 'soft' });
  const el = h('div', { class: 'share' },
    s('svg', { class: 'bar', viewBox: '0 0 100 12', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, s('rect', { class: 'all', x: 0, y: 3, width: 100, height: 6 }), bar, mark),
    h('p', { class: 'small' }, value, meant));
  return {
    el,
    update(is, wanted) {
      attr(bar, 'width', Math.min(100, (is ?? 0) * 100));
      attr(mark, 'x', Math.min(98, (wanted ?? 0) * 98));
      attr(mark, 'visibility', wanted === undefined ? 'hidden' : 'visible');
      text(value, share(is));
      text(meant, wanted === undefined ? '' : ` of ${share(wanted)}`);
    },
  };
}

/** strip is the last 60 checks, oldest first: a failed one is tall and red, one
 *  that passed is low and green. */
function strip() {
  const svg = s('svg', { class: 'strip', viewBox: '0 0 240 20', preserveAspectRatio: 'none', role: 'img' });
  const last = h('p', { class: 'small' });
  const el = h('div', {}, svg, last);
  return {
    el,
    update(check) {
      svg.toggleAttribute('hidden', !check);
      if (!check) {
        attr(last, 'class', 'small soft');
        text(last, 'no check');
        return;
      }
      const results = check.results, failed = results.filter((r) => !r.ok).length, end = results.at(-1);
      const label = `${results.length} checks, ${failed} failed`;
      attr(svg, 'aria-label', label);
      once(svg, results.map((r) => r.ok), (all) => all.map((ok, i) => {
        const x = (60 - all.length + i) * 4;
        return s('rect', ok ? { class: 'pass', x, y: 10, width: 3, height: 10 } : { class: 'fail', x, y: 0, width: 3, height: 20 });
      }));
      const said = !end ? check.state : end.ok ? `${end.status || 'ok'} in ${ms(end.latency)}, ${short(end.at)} ago` : `${end.error || end.status || 'failed'}, ${short(end.at)} ago`;
      attr(last, 'class', end && !end.ok ? 'small fault' : 'small soft');
      text(last, [said, check.progress].filter(Boolean).join(' · '));
    },
  };
}

const UNKNOWN = 'Bound sessions are not known: cookies carry the binding';

const ACTIONS = [['drain', 'Drain'], ['disable', 'Disable'], ['enable', 'Enable'], ['weight', 'Weight']];

function row(pool, first, after) {
  let now = first;
  const badge = stateBadge(), why = h('p', { class: 'small soft' }), bar = shareBar(), checks = strip();
  const origin = h('p', { class: 'small soft' }), tags = h('p', { class: 'tags' });
  const weight = h('b'), effective = h('p', { class: 'small soft' });
  const rps = h('b'), flight = h('p', { class: 'small soft' });
  const errors = h('b'), failures = h('p', { class: 'small soft' }), byte = h('b'), byteMore = h('p', { class: 'small soft' });
  const conns = h('b'), more = h('p', { class: 'small soft' }), bound = h('p', { class: 'small soft' });
  const buttons = Object.fromEntries(ACTIONS.map(([action, word]) => [action, h('button', {
    type: 'button', 'data-do': action, 'aria-label': `${word} ${first.address}`, click: () => orders[action](pool, now, after),
  }, word)]));
  const cells = [
    [h('strong', { class: 'mono address' }, first.address), origin, tags], [badge.el, why], [weight, effective], [rps, flight], [bar.el],
    [errors, failures], [byte, byteMore], [checks.el], [conns, more, bound], [h('div', { class: 'actions' }, Object.values(buttons))],
  ];
  const el = h('tr', { 'data-backend': first.address }, cells.map((kids, i) => h('td', { 'data-label': COLUMNS[i], class: [2, 3, 5, 6, 8].includes(i) ? 'figures-cell' : '' }, kids)));
  return {
    el,
    update(b) {
      now = b;
      attr(el, 'data-state', b.state);
      badge.update(b);
      text(why, detail(b));
      text(origin, [b.name, b.source || 'configuration', b.backup ? 'backup' : ''].filter(Boolean).join(' · '));
      const marks = [...(b.tags ?? []), ...Object.entries(b.meta ?? {}).map(([k, v]) => `${k}=${v}`)];
      once(tags, marks, (all) => all.slice(0, 8).map((one) => h('span', { class: 'tag' }, one)));
      text(weight, count(b.weight));
      text(effective, `${b.effective === undefined ? '–' : count(b.effective)} effective`);
      text(rps, `${rate(b.rps)}/s`);
      text(flight, `${count(b.inFlight)} in flight`);
      bar.update(b.share, b.intended);
      text(errors, share(b.errors));
      text(failures, `${count(b.failures)} in all`);
      text(byte, ms(b.firstByte));
      text(byteMore, b.firstByte95 === undefined ? '' : `p95 ${ms(b.firstByte95)}`);
      checks.update(b.check);
      text(conns, `${count(b.open)} open`);
      text(more, [`${count(b.idle)} idle`, b.upgraded ? `${count(b.upgraded)} upgraded` : ''].filter(Boolean).join(' · '));
      text(bound, b.bound !== undefined ? `${count(b.bound)} bound` : b.affinity === 'cookie' ? '– bound' : '');
      attr(bound, 'title', b.bound === undefined ? UNKNOWN : 'Clients bound to it by header or address');
      lock(buttons.enable, b.state !== 'draining' && b.state !== 'disabled');
      lock(buttons.drain, b.state === 'disabled' || b.left);
      lock(buttons.disable, b.state === 'disabled' || b.left);
      lock(buttons.weight, b.left);
    },
  };
}

export function backends(pool, after) {
  const body = h('tbody'), none = h('p', { class: 'empty', hidden: true }, h('strong', {}, 'This pool has no backends'), 'Its sources name none; what they answer is below.');
  const el = h('section', { class: 'card flush' }, h('h2', {}, 'Backends'),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Backends' },
      h('table', { class: 'backends' }, h('thead', {}, h('tr', {}, COLUMNS.map((c) => h('th', { scope: 'col' }, c)))), body)), none);
  let sort = null;
  return {
    el,
    update(p, details, affinity) {
      const rows = p.backends.map((b) => ({ ...b, ...details?.get(b.address), ...live(b), affinity }));
      // Rows keep their places while the same backends are there: a table that
      // sorts itself under the cursor makes people hit the wrong button.
      const names = rows.map((b) => b.address).join('\n');
      if (sort?.names !== names) {
        const sorted = rows.slice().sort((a, b) => rankOf(a.state) - rankOf(b.state));
        sort = { names, place: new Map(sorted.map((b, i) => [b.address, i])) };
      }
      rows.sort((a, b) => sort.place.get(a.address) - sort.place.get(b.address));
      none.hidden = rows.length > 0;
      list(body, rows, (b) => b.address, (b) => row(pool, b, after));
    },
  };
}

/** live is what the stream knows newer than the details. */
const live = (b) => Object.fromEntries(Object.entries(b).filter(([, v]) => v !== undefined));
