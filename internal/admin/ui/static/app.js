// The frame of the dashboard: which page is shown, the stream that feeds it, the
// theme, and what is said when Steelyard does not answer.

import { text, attr } from './dom.js';
import { get, follow } from './api.js';
import { login } from './dialogs.js';
import { take } from './model.js';
import { mode } from './mode.js';
import { overview } from './overview.js';
import { pool } from './pool.js';
import { errors } from './errors.js';
import { routes } from './routes.js';

const main = document.getElementById('main');
const pages = { '': overview, pool, errors, routes };
const ASK = 3000; // ms between two questions whether anything can be changed
let page = null, state = null, asked = 0;

/** part is one of the address's parts; what is no encoding stands for itself. */
function part(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** show makes the page that the address names. A page has el, title, update(state)
 *  and, if it has something to end, close(). */
function show() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, '').split('/');
  const make = pages[name] ?? overview;
  page?.close?.();
  page = make(rest.map(part).join('/'));
  main.replaceChildren(page.el);
  document.title = `${page.title} · Steelyard`;
  for (const a of document.querySelectorAll('.top nav a')) {
    attr(a, 'aria-current', a.dataset.page === (page.nav ?? name) ? 'page' : null);
  }
  if (state) page.update?.(state);
  scrollTo(0, 0);
}

/** askMode asks again from time to time: a reload can change it. */
async function askMode() {
  if (Date.now() - asked < ASK) return;
  asked = Date.now();
  try {
    mode(await get('/api/v1/session'));
    page.update?.(state);
  } catch { /* the stream says when the API is away or wants a token */ }
}

function linkState(kind, word) {
  const el = document.getElementById('link');
  attr(el, 'data-state', kind);
  attr(el.firstElementChild, 'class', `shape ${kind}`);
  text(el.lastElementChild, word);
}

function themes() {
  const button = document.getElementById('theme');
  const names = { auto: 'Auto', light: 'Light', dark: 'Dark' };
  const root = document.documentElement;
  const label = () => {
    const now = root.dataset.theme ?? 'auto';
    text(button, names[now]);
    attr(button, 'aria-label', `Colours: ${names[now]}. Change.`);
    attr(button, 'title', 'Colours: as the system, light or dark');
  };
  button.addEventListener('click', () => {
    const next = { auto: 'light', light: 'dark', dark: 'auto' }[root.dataset.theme ?? 'auto'];
    if (next === 'auto') delete root.dataset.theme;
    else root.dataset.theme = next;
    try { localStorage.setItem('steelyard-theme', next); } catch { /* for this page alone then */ }
    label();
  });
  label();
}

document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => {
  show();
  main.focus({ preventScroll: true });
});
themes();
show();

const lost = document.getElementById('lost');
follow('/api/v1/stream', {
  event(name, data) {
    if (name !== 'live') return;
    state = take(data);
    text(lost, '');
    attr(main, 'data-stale', null);
    linkState('ok', 'live');
    page.update?.(state);
    askMode();
  },
  lost(why) {
    asked = 0;
    attr(main, 'data-stale', state !== null);
    text(lost, `Connection lost, retrying: ${why}.`);
    linkState('bad', 'retrying');
  },
  login(message) {
    linkState('wait', 'logged out');
    text(lost, '');
    return login(message);
  },
});
