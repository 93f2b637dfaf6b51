// Charts of the last minutes: lines or stacked areas in SVG, with a cursor that
// the mouse, a finger or the arrow keys move, and the values at it in words.

import { h, s, text, attr, list } from './dom.js';
import { time } from './format.js';

const W = 600, H = 150; // of the drawing, in its own units
const POINTS = 300; // drawn at most: more than a chart has room for
const LEFT = 46, RIGHT = 6, TOP = 6, BOTTOM = 18;

// Areas of neighbouring tones differ in what is drawn over them, not in colour alone.
const HATCHES = [
  '', 'M-2 2L2-2M0 8L8 0M6 10L10 6', 'M2 2h.01M6 6h.01', 'M-2 6L2 10M0 0L8 8M6-2L10 2', 'M0 2H8M0 6H8', 'M2 0V8M6 0V8', 'M0 0L8 8M8 0L0 8', '',
];

/** hatches are the patterns of all tones, with ids that begin with prefix. */
const hatches = (prefix) => s('defs', {}, HATCHES.map((d, tone) => d && s('pattern', { id: `${prefix}${tone}`, width: 8, height: 8, patternUnits: 'userSpaceOnUse' },
  s('path', { d, fill: 'none', stroke: 'var(--card)', 'stroke-width': tone === 2 ? 2.4 : 1.2, 'stroke-linecap': tone === 2 ? 'round' : 'butt' }))));

/** over is what fills the hatched layer of a tone. */
const over = (prefix, tone) => (HATCHES[tone] ? `url(#${prefix}${tone})` : 'none');

/** nice is the round number at or above x that a scale ends at. */
export function nice(x) {
  if (!(x > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(x));
  for (const step of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (step * power >= x * 1.0001) return step * power;
  return 10 * power;
}

/** line is the path of values along x; it breaks where there is no value. */
function line(values, x, y) {
  let d = '', pen = false;
  values.forEach((v, i) => {
    if (v === null || v === undefined) {
      pen = false;
      return;
    }
    d += `${pen ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
    pen = true;
  });
  return d;
}

/** area is the path between two rows of values. */
function area(low, high, x, y) {
  if (!high.length) return '';
  let d = '';
  high.forEach((v, i) => { d += `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(v).toFixed(1)}`; });
  for (let i = low.length - 1; i >= 0; i--) d += `L${x(i).toFixed(1)} ${y(low[i]).toFixed(1)}`;
  return `${d}Z`;
}

/** thin keeps at most n points, each the largest of its stretch, so that a peak
 *  of one second is still seen. */
function thin(values, n) {
  if (values.length <= n) return values;
  const out = [];
  for (let k = 0; k < n; k++) {
    let top = null;
    for (let i = Math.floor((k * values.length) / n); i < Math.floor(((k + 1) * values.length) / n); i++) {
      const v = values[i];
      if (v !== null && v !== undefined && (top === null || v > top)) top = v;
    }
    out.push(top);
  }
  return out;
}

/** chart makes a chart. draw({times, series: [{name, values, tone}], stacked})
 *  shows other values: times in ms, one value or null for each, tones 0 to 7. */
export function chart({ title, unit, format, empty }) {
  const id = `c${Math.random().toString(36).slice(2)}`;
  const read = h('output', { class: 'read', 'aria-live': 'polite' });
  const legend = h('ul', { class: 'legend' });
  const lines = s('g', {});
  const toneOf = (one, k) => one.tone ?? k % 8;
  const marks = s('g', {});
  const grid = s('g', { class: 'grid' });
  const cursor = s('line', { class: 'cursor', y1: TOP, y2: H - BOTTOM, visibility: 'hidden' });
  const svg = s('svg', {
    viewBox: `0 0 ${W} ${H}`, class: 'plot', role: 'img', tabindex: 0, 'aria-labelledby': id,
    'aria-describedby': `${id}k`, preserveAspectRatio: 'none',
  }, hatches(id), grid, lines, cursor, marks);
  const axis = h('div', { class: 'axis', 'aria-hidden': 'true' });
  const el = h('figure', { class: 'chart' },
    h('figcaption', {}, h('h3', { id }, title), h('span', { class: 'unit' }, unit), read),
    h('div', { class: 'frame' }, svg, axis, h('p', { class: 'nothing', hidden: true }, empty ?? 'Nothing was measured yet.')),
    legend, h('span', { class: 'hidden', id: `${id}k` }, 'Arrow keys read the values.'));
  el.style.gridTemplateColumns = 'minmax(0, 1fr)'; // what is read may be long, and must not push the chart out of its card
  const nothing = el.querySelector('.nothing');
  let shown = { times: [], series: [], stacked: false }, at = null, when = null;

  const width = () => W - LEFT - RIGHT;
  const place = (i) => LEFT + (shown.times.length < 2 ? width() : (i * width()) / (shown.times.length - 1));

  function point(i) {
    at = i;
    const has = i !== null && shown.times[i] !== undefined;
    when = has ? shown.times[i] : null;
    attr(cursor, 'visibility', has ? 'visible' : 'hidden');
    if (!has) {
      at = null;
      text(read, '');
      for (const item of legend.children) text(item.querySelector('b'), format(item.last));
      return;
    }
    attr(cursor, 'x1', place(i));
    attr(cursor, 'x2', place(i));
    const said = shown.series.map((one) => `${one.name} ${format(one.values[i])}`).slice(0, 8);
    if (shown.stacked && said.length > 1) said.unshift(`all ${format(shown.series.reduce((sum, one) => sum + (one.values[i] ?? 0), 0))}`);
    text(read, [time(shown.times[i]), ...said].join(' · '));
    [...legend.children].forEach((item, k) => text(item.querySelector('b'), format(shown.series[k]?.values[i])));
  }

  function locate(event) {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * W - LEFT;
    const last = shown.times.length - 1;
    point(Math.max(0, Math.min(last, Math.round((x / width()) * last))));
  }
  svg.addEventListener('pointermove', locate);
  svg.addEventListener('pointerdown', locate);
  svg.addEventListener('pointerleave', () => point(null));
  svg.addEventListener('blur', () => point(null));
  svg.addEventListener('keydown', (event) => {
    const last = shown.times.length - 1;
    const step = event.shiftKey ? 30 : 1;
    const to = { ArrowLeft: (at ?? last + 1) - step, ArrowRight: (at ?? last - 1) + step, Home: 0, End: last }[event.key];
    if (event.key === 'Escape') point(null);
    if (to === undefined || last < 0) return;
    event.preventDefault();
    point(Math.max(0, Math.min(last, to)));
  });

  function draw(next) {
    shown = next;
    const { times, series, stacked } = next;
    const rows = series.map((one) => thin(one.values, POINTS));
    const n = rows[0]?.length ?? 0;
    const x = (i) => LEFT + (n < 2 ? width() : (i * width()) / (n - 1));
    const layers = [];
    if (stacked) {
      let low = new Array(n).fill(0);
      for (const row of rows) {
        const high = row.map((v, i) => low[i] + (v ?? 0));
        layers.push([low, high]);
        low = high;
      }
    }
    const tops = stacked ? layers.at(-1)?.[1] ?? [] : rows.flat();
    const top = nice(tops.reduce((a, v) => (v > a ? v : a), 0));
    const y = (v) => H - BOTTOM - (v / top) * (H - TOP - BOTTOM);
    nothing.hidden = n > 0 && series.length > 0;

    list(grid, [0, 0.5, 1], (f) => f, (f) => ({ el: s('line', { x1: LEFT, x2: W - RIGHT, y1: y(f * top), y2: y(f * top) }) }));
    scale(axis, top, times, format);
    const drawn = series.map((one, k) => ({
      name: one.name, tone: toneOf(one, k), d: stacked ? area(...layers[k], x, y) : line(rows[k], x, y),
    }));
    list(lines, drawn, (one) => `${one.name}/${stacked}`, () => {
      const path = s('path', { 'vector-effect': 'non-scaling-stroke' }), hatch = stacked && s('path', {});
      return {
        el: stacked ? s('g', {}, path, hatch) : path,
        update(one) {
          attr(path, 'class', `${stacked ? 'area' : 'line'} tone${one.tone}`);
          attr(path, 'd', one.d);
          if (!hatch) return;
          attr(hatch, 'fill', over(id, one.tone));
          attr(hatch, 'd', one.d);
        },
      };
    });
    list(legend, series.map((one, k) => ({ ...one, k })), (one) => one.name, () => {
      const value = h('b');
      const item = h('li', {}, h('i'), h('span'), value);
      return {
        el: item,
        update(one) {
          const tone = toneOf(one, one.k);
          if (item.shows !== `${tone}/${shown.stacked}`) item.children[0].replaceWith(shown.stacked ? swatch(id, tone) : h('i', { class: `key tone${tone}`, 'aria-hidden': 'true' }));
          item.shows = `${tone}/${shown.stacked}`;
          text(item.children[1], one.name);
          item.last = one.values.at(-1);
          if (at === null) text(value, format(item.last));
        },
      };
    });
    // The cursor stays at its second while the chart moves on.
    if (at !== null) point(Math.max(0, times.indexOf(when)));
  }
  return { el, draw };
}

/** swatch is the key of a stacked area in the legend. */
const swatch = (prefix, tone) => s('svg', { class: `tone${tone}`, width: 14, height: 12, 'aria-hidden': 'true' },
  s('rect', { width: 14, height: 12, rx: 2, fill: 'currentColor', opacity: 0.72 }), s('rect', { width: 14, height: 12, rx: 2, fill: over(prefix, tone) }));

/** scale writes the numbers beside and below a chart; they are text of the page
 *  and not of the drawing, so that they keep their size. */
function scale(axis, top, times, format) {
  list(axis, [
    { key: 'upper', text: format(top) }, { key: 'middle', text: format(top / 2) }, { key: 'lower', text: '0' },
    { key: 'from', text: times.length ? time(times[0]) : '' }, { key: 'to', text: times.length ? 'now' : '' },
  ], (one) => one.key, (one) => {
    const el = h('span', { class: one.key });
    return { el, update: (now) => text(el, now.text) };
  });
}

/** spark is a small line without numbers: where something has been going. */
export function spark(tone = 0) {
  const under = s('path', { class: `area tone${tone}` });
  const path = s('path', { class: `line tone${tone}`, 'vector-effect': 'non-scaling-stroke' });
  const el = s('svg', { class: 'spark', viewBox: '0 0 120 28', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, under, path);
  return {
    el,
    draw(values) {
      const top = nice(values.reduce((a, v) => (v > a ? v : a), 0));
      const x = (i) => 120 - (values.length - 1 - i) * (120 / 119);
      const y = (v) => 26 - (v / top) * 23;
      attr(path, 'd', line(values, x, y));
      const known = values.map((v) => v ?? 0);
      attr(under, 'd', area(known.map(() => 0), known, x, y));
    },
  };
}
