// The last 15 minutes: of everything, of a pool, or of a pool backend by backend,
// as lines or stacked.

import { h, text, attr } from './dom.js';
import { rate, ms } from './format.js';
import { chart } from './chart.js';
import { failures, palette } from './causes.js';
import { history, causes, step } from './model.js';

const SPAN = 900; // seconds
const AGAIN = 60000; // ms between two looks at the whole history; steps come with the stream

function choice(label, options, value, change) {
  const buttons = options.map(([key, word]) => h('button', { type: 'button', 'data-choice': key, 'aria-pressed': String(key === value), click: () => pick(key) }, word));
  const pick = (key) => {
    for (const b of buttons) attr(b, 'aria-pressed', String(b.dataset.choice === key));
    change(key);
  };
  return h('div', { class: 'choice', role: 'group', 'aria-label': label }, buttons);
}

const QUANTILES = [['p50', 0], ['p95', 1], ['p99', 2]];

/** values are what the newest second adds to a row. */
const values = (x) => x && { rps: x.rps, bad: x.rps === null ? null : (x.rps ?? 0) * (x.errors ?? 0), p50: x.firstByte === undefined ? x.p50 : x.firstByte, p95: x.p95, p99: x.p99 };

/** timeline makes the charts of a pool; name "" is everything. */
export function timeline(name) {
  let each = false, stacked = false, data = null, byCause = null, closed = false, asked = 0, next = 0, state = null;
  const requests = chart({ title: 'Requests', unit: 'per second', format: rate, empty: 'No requests in these 15 minutes.' });
  const latency = chart({ title: 'Latency', unit: '', format: ms, empty: 'No requests in these 15 minutes.' });
  const errors = chart({ title: 'Errors', unit: '', format: rate, empty: 'No errors in these 15 minutes.' });
  const fails = name ? failures(name, SPAN) : null, tint = palette();
  const note = h('p', { class: 'soft small' });
  const el = h('section', { class: 'card' },
    h('div', { class: 'head' }, h('h2', {}, 'Last 15 minutes'), h('div', { class: 'actions' },
      name && choice('What', [['pool', 'Whole pool'], ['backend', 'Per backend']], 'pool', (v) => { each = v === 'backend'; next = 0; load(); }),
      choice('How', [['lines', 'Lines'], ['stacked', 'Stacked']], 'lines', (v) => { stacked = v === 'stacked'; draw(); }))),
    h('div', { class: 'charts' }, requests.el, latency.el, errors.el), note);

  const me = () => (name ? state?.pools.find((p) => p.name === name) : state?.total);

  async function load() {
    if (closed || !state || Date.now() < next) return;
    next = Date.now() + AGAIN;
    const mine = ++asked;
    try {
      const [got, why] = await Promise.all([history(name, each ? me()?.backends ?? [] : undefined, SPAN), name ? null : causes(SPAN)]);
      if (mine !== asked || closed) return;
      [data, byCause] = [got, why];
      draw();
    } catch {
      next = Date.now() + 3000; // the stream says when the API is away
    }
  }
  function draw() {
    if (!data?.rows.length) return;
    const { times, rows } = data;
    const named = (of, keep = () => true) => rows.map((r, i) => ({ name: r.name, values: r[of], tone: i % 8 })).filter(keep);
    const busy = (one) => one.values.some((v) => v > 0);
    if (each) {
      requests.draw({ times, series: named('rps'), stacked });
      latency.draw({ times, series: named('p50'), stacked: false });
    } else {
      requests.draw({ times, series: [{ name: 'requests', values: rows[0].rps, tone: 0 }], stacked });
      latency.draw({ times, series: QUANTILES.map(([q, tone]) => ({ name: q, values: rows[0][q], tone })), stacked: false });
    }
    const why = each ? null : name ? fails.data : byCause;
    const failing = why ? tint(why.rows.filter(busy)) : named('bad', busy);
    errors.draw({ times: failing.length ? (why ?? data).times : [], series: failing, stacked: Boolean(why) || stacked });
    text(errors.el.querySelector('h3'), why ? 'Errors by cause' : 'Errors');
    text(latency.el.querySelector('.unit'), each ? 'median time to the first byte' : 'of 100 requests, 50, 95 and 99 are faster');
    text(errors.el.querySelector('.unit'), each ? 'per second: 5xx, or no response' : name ? 'per second, of what clients got' : 'per second, made by Steelyard');
    text(note, data.more ? `${data.more} more backends are not drawn, only the busiest are.` : '');
  }
  return {
    el,
    update(now) {
      state = now;
      fails?.refresh(now.at);
      if (!data) load();
      else if (me()) {
        step(data, now.at, (row) => values(each ? me().backends.find((b) => b.address === row) : me()));
        if (byCause) stepCauses(byCause, now);
        draw();
        load();
      }
    },
    close() { closed = true; },
  };
}

/** stepCauses adds the newest second to the errors by cause. */
function stepCauses(data, now) {
  if (data.times.length && now.at - data.times.at(-1) < 500) return;
  data.times.push(now.at);
  for (const c of now.causes) {
    if (!data.rows.some((r) => r.name === c.cause)) data.rows.push({ name: c.cause, values: new Array(data.times.length - 1).fill(0) });
  }
  const over = Math.max(0, data.times.length - SPAN);
  data.times.splice(0, over);
  for (const r of data.rows) {
    r.values.push(now.causes.find((c) => c.cause === r.name)?.rps ?? 0);
    r.values.splice(0, over);
  }
}
