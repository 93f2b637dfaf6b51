// Numbers and times as people read them. All are short and of few widths, so
// that columns of them stand still.

const whole = new Intl.NumberFormat('en');

export const count = (n) => (n === undefined || n === null ? '–' : n < 1e6 ? whole.format(Math.round(n)) : n < 1e9 ? `${(n / 1e6).toFixed(2)} M` : `${(n / 1e9).toFixed(2)} G`);

/** rate is a number per second. */
export function rate(n) {
  if (n === undefined || n === null) return '–';
  if (n < 100) return n.toFixed(1);
  return n < 1e5 ? whole.format(Math.round(n)) : `${(n / 1e3).toFixed(0)} k`;
}

/** share is a part of 1, in percent. */
export function share(x) {
  if (x === undefined || x === null || Number.isNaN(x)) return '–';
  if (x > 0 && x < 0.0005) return '<0.1 %';
  return `${(x * 100).toFixed(1)} %`;
}

/** ms is a duration in milliseconds. */
export function ms(x) {
  if (x === undefined || x === null) return '–';
  if (x < 1) return `${x.toFixed(2)} ms`;
  if (x < 100) return `${x.toFixed(1)} ms`;
  if (x < 1000) return `${Math.round(x)} ms`;
  return x < 10000 ? `${(x / 1000).toFixed(2)} s` : `${(x / 1000).toFixed(1)} s`;
}

/** span is a time in seconds, in its two largest units. */
export function span(sec) {
  const t = Math.max(0, Math.round(sec));
  if (t < 60) return `${t} s`;
  if (t < 3600) return `${Math.floor(t / 60)} min ${String(t % 60).padStart(2, '0')} s`;
  if (t < 86400) return `${Math.floor(t / 3600)} h ${String(Math.floor(t / 60) % 60).padStart(2, '0')} min`;
  return `${Math.floor(t / 86400)} d ${Math.floor(t / 3600) % 24} h`;
}

const moment = (t) => (t instanceof Date ? t : new Date(t));

/** since says how long ago something was; until how long it still takes. */
export const since = (t) => span((Date.now() - moment(t)) / 1000);
export const until = (t) => span((moment(t) - Date.now()) / 1000);

/** short is a duration in one unit, for tight places. */
export function short(t) {
  const sec = Math.max(0, (Date.now() - moment(t)) / 1000);
  if (sec < 60) return `${Math.round(sec)} s`;
  if (sec < 3600) return `${Math.floor(sec / 60)} min`;
  return sec < 86400 ? `${Math.floor(sec / 3600)} h` : `${Math.floor(sec / 86400)} d`;
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

export function time(t) {
  const d = moment(t);
  return Date.now() - d < 20 * 3600e3 ? clock.format(d) : day.format(d);
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
