// Errors by cause: of a pool, as they come, and in tones that stay.

import { get } from './api.js';

const AFRESH = 2000; // ms between two looks at what has been added
const TONES = [1, 2, 4, 5, 6, 0]; // of causes, as they come; grey is what backends answered themselves
const REST = 3; // of all beyond those
const PASSED_ON = { name: 'passed_on', label: '5xx of backends', tone: 7 };

/** failures are the errors of a pool by cause. The stream has those of the process
 *  alone, so what has been added is asked for. */
export function failures(pool, span) {
  const data = { times: [], rows: [] };
  let again = 0, asking = false;
  function take(got) {
    const from = new Date(got.from).getTime(), known = got.columns.rps ?? [], last = data.times.at(-1) ?? -Infinity;
    for (const cause of Object.keys(got.causes ?? {}).sort()) {
      if (!data.rows.some((r) => r.name === cause)) data.rows.push({ name: cause, values: data.times.map(() => 0) });
    }
    known.forEach((v, i) => {
      if (from + i * 1000 - last < 500) return;
      data.times.push(from + i * 1000);
      for (const r of data.rows) r.values.push(v === null ? null : got.causes?.[r.name]?.[i] ?? 0);
    });
    const over = Math.max(0, data.times.length - span);
    data.times.splice(0, over);
    for (const r of data.rows) r.values.splice(0, over);
  }
  return {
    data,
    /** refresh asks for what came until now, the time of the newest second. */
    async refresh(now) {
      if (asking || Date.now() < again) return;
      [asking, again] = [true, Date.now() + AFRESH];
      const last = data.times.at(-1);
      const seconds = last === undefined ? span : Math.min(span, Math.max(1, Math.ceil((now - last) / 1000) + 2));
      try {
        take(await get(`/api/v1/history?${new URLSearchParams({ pool, seconds })}`));
      } catch { /* the stream says when the API is away */ }
      asking = false;
    },
  };
}

/** palette gives each cause a tone that it keeps, and puts those beyond what can be
 *  told apart together. */
export function palette() {
  const tones = new Map();
  return (rows) => {
    const own = rows.filter((r) => r.name !== PASSED_ON.name), passed = rows.find((r) => r.name === PASSED_ON.name);
    for (const r of own) if (!tones.has(r.name) && tones.size < TONES.length) tones.set(r.name, TONES[tones.size]);
    const apart = own.filter((r) => tones.has(r.name)).map((r) => ({ ...r, tone: tones.get(r.name) }));
    const rest = own.filter((r) => !tones.has(r.name));
    if (rest.length) apart.push({ name: rest.length === 1 ? rest[0].name : `${rest.length} other causes`, values: rest[0].values.map((_, i) => rest.reduce((sum, r) => sum + (r.values[i] ?? 0), 0)), tone: REST });
    if (passed) apart.push({ name: PASSED_ON.label, values: passed.values, tone: PASSED_ON.tone });
    return apart;
  };
}
