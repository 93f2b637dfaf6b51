// What is known now, in the words of the pages: the newest second of the stream,
// joined with what is asked for from time to time because it changes seldom.

import { get } from './api.js';

const TREND = 120; // seconds
const SELDOM = 3000; // ms between two questions about the same thing
const RECENT = 15000; // ms for which a refused request makes a queue exhausted

const trends = new Map();

/** trend is the last two minutes of a figure. */
export const trend = (key) => trends.get(key) ?? [];

function remember(key, value) {
  let t = trends.get(key);
  if (!t) trends.set(key, t = []);
  t.push(value);
  if (t.length > TREND) t.shift();
}

/** seed fills trends that have just begun with what was before. */
async function seed(pool, columns) {
  const got = await get(`/api/v1/history?${query({ pool: pool || undefined, seconds: TREND })}`).catch(() => null);
  if (!got) return;
  for (const [column, name] of columns) {
    let values = got.columns[column] ?? [];
    if (name === 'errors') values = values.map((v, i) => (got.columns.rps?.[i] > 0 ? v / got.columns.rps[i] : 0));
    const key = pool ? `pool/${pool}/${name}` : name, now = trends.get(key) ?? [];
    trends.set(key, [...values.slice(0, TREND - now.length), ...now]);
  }
}

const SEEDED = 24; // pools whose trend is asked for; those of the others fill in time
const GAP = 5000; // ms without an event after which trends begin anew
let seeded = false, newest = 0;

function seedAll(pools) {
  if (seeded) return;
  seeded = true;
  seed('', [['rps', 'rps'], ['errors', 'errors'], ['p95_ms', 'p95'], ['connections', 'connections']]);
  for (const p of pools.slice(0, SEEDED)) seed(p.name, [['rps', 'rps']]);
}

/** seldom asks for a path at most every few seconds and keeps the last answer. */
const kept = new Map();
function seldom(path) {
  let k = kept.get(path);
  if (!k) kept.set(path, k = { value: null, at: 0 });
  if (Date.now() - k.at >= SELDOM) {
    k.at = Date.now();
    get(path).then((v) => { k.value = v; }, () => { /* the next time, then */ });
  }
  return k.value;
}

/** certificates are those that something is wrong with, and CAs of clients. */
function certificates() {
  const out = [];
  for (const l of seldom('/api/v1/listeners')?.listeners ?? []) {
    for (const c of l.tls?.certificates ?? []) {
      if (c.problem || c.expiring) out.push({ listener: l.name, file: c.file, hosts: c.hosts, until: Date.parse(c.not_after), expiring: Boolean(c.expiring), problem: c.problem ?? '' });
    }
    if (l.tls?.client_ca_problem) out.push({ listener: l.name, file: '', hosts: [], until: NaN, expiring: false, problem: l.tls.client_ca_problem });
  }
  return out;
}

function generation() {
  const g = seldom('/api/v1/generation') ?? {};
  return {
    id: g.id ?? '–', since: g.since, file: g.file ?? '', reloads: g.reloads ?? 0, failed: g.reloads_failed ?? 0,
    errors: g.last_reload_ok === false && !g.rolled_back ? g.errors ?? ['The log says why.'] : [], changes: g.changes ?? [], rolledBack: g.rolled_back ?? '',
  };
}

const source = (s) => ({
  name: s.name, members: s.members ?? 0, error: s.error ?? '', errorSince: s.error_since, alarm: s.alarm ?? '', alarmUntil: s.alarm_until,
  held: s.held ?? [], heldCount: 0,
});

/** exhausted are the pools that have refused requests for want of a place, as the
 *  error log names them. */
function exhausted(causes) {
  if (!causes.some((c) => c.cause === 'queue_full' || c.cause === 'queue_timeout') && Date.now() - exhausted.last > RECENT) return new Set();
  if (causes.some((c) => c.cause.startsWith('queue_'))) exhausted.last = Date.now();
  const log = seldom('/api/v1/errors')?.errors ?? [];
  return new Set(log.filter((e) => e.cause?.startsWith('queue_') && Date.now() - new Date(e.at) < RECENT).map((e) => e.pool));
}
exhausted.last = 0;

const backend = (b) => ({
  address: b.address, state: b.state, reason: b.reason ?? '', left: Boolean(b.left), weight: b.weight, percent: b.percent, backup: b.backup,
  effective: Math.round(b.weight * b.percent) / 100, rps: b.rps, share: b.share, intended: b.intended_share, errors: b.error_share,
  firstByte: b.first_byte_ms ?? undefined, inFlight: b.in_flight, open: b.open, idle: b.idle, upgraded: b.upgraded,
});

function pool(p, full) {
  const troubled = p.held > 0 || p.sources_failing > 0 || p.fail_open;
  const more = troubled ? seldom(`/api/v1/pools/${encodeURIComponent(p.name)}`) : null;
  let sources = (more?.sources ?? []).map(source);
  if (!p.held) for (const s of sources) s.held = [];
  if (!p.sources_failing) for (const s of sources) s.error = '';
  if (p.held && !more) sources = [{ ...source({ name: 'the source' }), heldCount: p.held }];
  const backends = p.backends.map(backend);
  return {
    name: p.name, policy: p.policy, healthy: p.healthy, total: p.total, failOpen: p.fail_open, failOpenSince: more?.fail_open_since, why: p.why ?? '',
    waiting: p.waiting, exhausted: full.has(p.name), rps: p.rps, errors: p.error_share, p50: p.p50_ms, p95: p.p95_ms, p99: p.p99_ms,
    inFlight: backends.reduce((sum, b) => sum + b.inFlight, 0), sources, backends,
  };
}

/** take makes the state of an event `live`. */
export function take(live) {
  const t = live.total, full = exhausted(t.causes ?? []);
  const pools = live.pools.map((p) => pool(p, full)), at = new Date(live.at).getTime();
  if (at - newest > GAP) {
    seeded = false;
    trends.clear();
  }
  newest = at;
  seedAll(pools);
  const state = {
    at, generation: generation(), certificates: certificates(), pools, causes: t.causes ?? [],
    total: {
      rps: t.rps, errors: t.error_share, errorRate: (t.rps ?? 0) * (t.error_share ?? 0), p50: t.p50_ms, p95: t.p95_ms, p99: t.p99_ms, connections: t.connections,
      inFlight: pools.reduce((sum, p) => sum + p.inFlight, 0), waiting: pools.reduce((sum, p) => sum + p.waiting, 0),
    },
  };
  for (const [key, value] of [['rps', t.rps], ['errors', t.error_share ?? 0], ['p95', t.p95_ms], ['connections', t.connections]]) remember(key, value);
  for (const p of pools) remember(`pool/${p.name}/rps`, p.rps);
  for (const key of trends.keys()) {
    if (key.startsWith('pool/') && !pools.some((p) => key === `pool/${p.name}/rps`)) trends.delete(key);
  }
  return state;
}

/** poolDetail is what GET /api/v1/pools/{pool} knows beyond the stream, by
 *  address. */
export function poolDetail(p) {
  const by = new Map();
  for (const b of p.backends) {
    by.set(b.address, {
      name: b.name ?? '', source: b.source ?? '', tags: b.tags ?? [], meta: b.meta ?? {}, held: Boolean(b.held), since: b.since,
      drainUntil: b.drain_until, ejectedUntil: b.ejected_until, failures: b.failures, requests: b.requests, bound: b.bound,
      check: b.check && {
        state: b.check.state, progress: b.check.progress ?? '',
        results: (b.check.results ?? []).slice(-60).map((r) => ({ at: r.at, latency: r.latency_ms, ok: r.ok, status: r.status, error: r.error ?? '' })),
      },
    });
  }
  return { by, sources: (p.sources ?? []).map(source) };
}

const MOST = 8; // backends drawn at a time

const query = (o) => new URLSearchParams(Object.entries(o).filter(([, v]) => v !== undefined)).toString();

const rowOf = (name, c) => ({ name, rps: c.rps ?? [], bad: c.errors ?? [], p50: c.p50_ms ?? [], p95: c.p95_ms ?? [], p99: c.p99_ms ?? [] });

/** history asks for the last seconds: of the process if pool is "", of a pool, or
 *  of the busiest of its backends, which backends lists. The rows have one value
 *  for each of times. */
export async function history(pool, backends, seconds) {
  const list = backends?.slice().sort((a, b) => (b.rps ?? 0) - (a.rps ?? 0)).slice(0, MOST).map((b) => b.address).sort() ?? [undefined];
  const got = await Promise.all(list.map((one) => get(`/api/v1/history?${query({ pool: pool || undefined, backend: one, seconds })}`)));
  const whole = got.reduce((a, b) => (a && new Date(a.from) >= new Date(b.from) ? a : b), null);
  const length = Math.max(0, ...got.map((one) => one.columns.rps?.length ?? 0));
  const from = whole ? new Date(whole.from).getTime() : Date.now();
  const times = Array.from({ length }, (_, i) => from + i * 1000);
  const rows = got.map((one, i) => {
    const r = rowOf(list[i] ?? (pool || 'all'), one.columns);
    for (const key of ['rps', 'bad', 'p50', 'p95', 'p99']) {
      while (r[key].length < length) r[key].unshift(null);
      r[key] = r[key].slice(-length);
    }
    return r;
  });
  return { times, rows, more: Math.max(0, (backends?.length ?? 0) - MOST), seconds };
}

/** causes asks for the errors that Steelyard made, by cause. */
export async function causes(seconds) {
  const got = await get(`/api/v1/history?${query({ causes: 'true', seconds })}`);
  const rows = Object.entries(got.columns).sort(([a], [b]) => a.localeCompare(b)).map(([name, values]) => ({ name, values }));
  const length = Math.max(0, ...rows.map((r) => r.values.length)), from = new Date(got.from).getTime();
  return { times: Array.from({ length }, (_, i) => from + i * 1000), rows };
}

/** step adds the newest second to a history, and seconds without values for those
 *  that nobody has looked at. */
export function step(data, at, valuesOf) {
  const before = data.times.at(-1) ?? at - 1000;
  if (at - before < 500) return;
  for (let t = Math.max(before + 1000, at - data.seconds * 1000); t < at - 500; t += 1000) {
    data.times.push(t);
    for (const r of data.rows) for (const key of ['rps', 'bad', 'p50', 'p95', 'p99']) r[key].push(null);
  }
  data.times.push(at);
  for (const r of data.rows) {
    const v = valuesOf(r.name) ?? {};
    for (const key of ['rps', 'bad', 'p50', 'p95', 'p99']) r[key].push(v[key] ?? null);
  }
  const over = data.times.length - data.seconds;
  if (over <= 0) return;
  data.times.splice(0, over);
  for (const r of data.rows) for (const key of ['rps', 'bad', 'p50', 'p95', 'p99']) r[key].splice(0, over);
}
