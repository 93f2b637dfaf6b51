// Speaks to the admin API. The token, if there is one, is kept for this tab
// alone and sent as a header; so the stream is read with fetch, because an
// EventSource could not send it.

const KEY = 'steelyard-token';
const SILENCE = 6000; // ms without a byte after which a stream is taken for dead

let token = '';
try { token = sessionStorage.getItem(KEY) ?? ''; } catch { /* kept in memory then */ }

function setToken(value) {
  token = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch { /* kept in memory */ }
}

/** Refused is an answer that is not 2xx, with what it says, and what it says to
 *  do about it. */
export class Refused extends Error {
  constructor(status, message, cure) {
    super(cure && status !== 401 ? `${message}; ${cure}` : message);
    this.status = status;
  }
}

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

async function refusal(res) {
  const said = await res.text().catch(() => '');
  try {
    const body = JSON.parse(said);
    return new Refused(res.status, body.errors?.join('\n') || body.error || said, body.errors ? '' : body.cure);
  } catch {
    return new Refused(res.status, said.trim() || `the API answered ${res.status}`);
  }
}

/** tryToken keeps a token if it is right and throws what is wrong otherwise. It is
 *  shown once, so that a slip is one guess and not one for each part of the page. */
export async function tryToken(value) {
  if (!/^[!-~]+$/.test(value)) throw new Refused(401, 'A token has no spaces and no letters beyond ASCII.');
  await ask('/api/v1/session', { headers: { Authorization: `Bearer ${value}` } });
  setToken(value);
}

/** forget drops a token that was refused, so that it is not sent again and again
 *  and taken for guessing; a newer one stays. */
function forget(used) {
  if (used === token) setToken('');
}

async function ask(path, options) {
  const used = token;
  let res;
  try {
    res = await fetch(path, { cache: 'no-store', ...options, headers: { ...headers(), ...options?.headers } });
  } catch {
    throw new Refused(0, 'Steelyard does not answer; is it running?');
  }
  if (!res.ok) {
    const error = await refusal(res);
    if (res.status === 401) forget(used);
    throw error;
  }
  return res.json();
}

export const get = (path) => ask(path);

export const post = (path, body) => ask(path, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: body === undefined ? '{}' : JSON.stringify(body),
});

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** events reads a stream of server-sent events and calls back for each. */
async function events(body, beat, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    beat();
    rest += value;
    const parts = rest.split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      let name = 'message';
      const data = [];
      for (const line of part.split('\n')) {
        if (line.startsWith('event:')) name = line.slice(6).trim();
        else if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
      }
      if (data.length) onEvent(name, JSON.parse(data.join('\n')));
    }
  }
}

const GRACE = 5000; // ms for which a page that is not seen keeps its stream

let left = false; // for another page; the browser may keep this one for the way back
const unseen = () => left || document.hidden;

/** seen resolves when somebody can see the page. */
function seen() {
  return new Promise((done) => {
    const look = () => {
      if (unseen()) return;
      removeEventListener('pageshow', look);
      document.removeEventListener('visibilitychange', look);
      done();
    };
    addEventListener('pageshow', look);
    document.addEventListener('visibilitychange', look);
    look();
  });
}

/** untilUnseen ends a stream that nobody looks at: a browser gives one address six
 *  connections, and a stream takes one of them from all tabs. It returns what
 *  ends the watch. */
function untilUnseen(abort) {
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => abort.abort(), GRACE);
  };
  const leave = () => abort.abort();
  document.addEventListener('visibilitychange', look);
  addEventListener('pagehide', leave);
  return () => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', look);
    removeEventListener('pagehide', leave);
  };
}

addEventListener('pagehide', () => { left = true; });
addEventListener('pageshow', () => { left = false; });

/** follow keeps a stream open for as long as the page is seen. on.event gets each
 *  event; on.lost says why it is down, before the next attempt; a 401 asks for
 *  the token, says why the last one was refused if there was one, and waits. */
export async function follow(path, on) {
  let wait = 500;
  for (;;) {
    await seen();
    const abort = new AbortController(), ended = untilUnseen(abort);
    let timer;
    const beat = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE);
    };
    const used = token;
    let why = 'the connection has ended';
    try {
      beat();
      const res = await fetch(path, { headers: { ...headers(), Accept: 'text/event-stream' }, cache: 'no-store', signal: abort.signal });
      if (res.status === 401) {
        clearTimeout(timer);
        forget(used);
        await on.login(used && (await refusal(res)).message);
        continue;
      }
      if (!res.ok) throw await refusal(res);
      await events(res.body, beat, (name, data) => {
        wait = 500;
        on.event(name, data);
      });
    } catch (error) {
      why = error instanceof Refused ? error.message : 'Steelyard does not answer';
    } finally {
      ended();
      clearTimeout(timer);
      abort.abort();
    }
    if (unseen()) continue;
    on.lost(why);
    await pause(wait);
    wait = Math.min(wait * 1.6, 5000);
  }
}
