// Asks before anything is changed, and tells what came of it.

import { h, text, say } from './dom.js';
import { post, tryToken } from './api.js';

/** confirm shows a dialog; run is called with the values of its fields and may
 *  throw, which keeps the dialog open with what was said. */
export function confirm({ title, lines, fields = [], button, run, done }) {
  const opener = document.activeElement;
  const fault = h('p', { class: 'fault', role: 'alert' });
  const inputs = fields.map((f) => h('input', { name: f.name, value: f.value ?? '', type: f.type ?? 'text', inputmode: f.mode, autocomplete: 'off', spellcheck: 'false', placeholder: f.placeholder }));
  const go = h('button', { class: 'main', 'data-do': 'confirm' }, button);
  const form = h('form', { method: 'dialog' },
    h('h2', { id: 'dialog-title' }, title),
    lines.filter(Boolean).map((one) => h('p', { class: 'soft' }, one)),
    fields.map((f, i) => h('label', {}, f.label, inputs[i])), fault,
    h('div', { class: 'actions' }, h('button', { type: 'button', 'data-do': 'cancel', click: () => dialog.close() }, 'Cancel'), go));
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    text(fault, '');
    go.disabled = true;
    try {
      const answer = await run(Object.fromEntries(inputs.map((i) => [i.name, i.value.trim()])));
      dialog.close();
      say(typeof done === 'function' ? done(answer) : done);
    } catch (error) {
      text(fault, error.message);
    }
    go.disabled = false;
  });
  dialog.addEventListener('close', () => {
    dialog.remove();
    opener?.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  (inputs[0] ?? go).focus();
  inputs[0]?.select();
}

const path = (pool, address, action) => `/api/v1/pools/${encodeURIComponent(pool)}/backends/${encodeURIComponent(address)}/${action}`;

/** The orders about one backend. after is called when one was taken. */
export const orders = {
  drain(pool, b, after) {
    confirm({
      title: `Drain ${b.address}?`,
      lines: ['It gets no new clients, finishes what it has and keeps the clients bound to it until the deadline.'],
      fields: [{ name: 'for', label: 'Deadline, as 30s, 5m or 1h (empty: the pool’s drain_timeout)', placeholder: 'drain_timeout' }],
      button: 'Drain', done: `${b.address} is draining`,
      run: (v) => post(path(pool, b.address, 'drain'), v.for ? { for: v.for } : {}).then(after),
    });
  },
  disable(pool, b, after) {
    confirm({
      title: `Disable ${b.address}?`,
      lines: ['It gets nothing new, at once, not even from clients bound to it. Requests it has are finished.'],
      button: 'Disable', done: `${b.address} is disabled`,
      run: () => post(path(pool, b.address, 'disable')).then(after),
    });
  },
  enable(pool, b, after) {
    confirm({
      title: `Enable ${b.address}?`,
      lines: ['It takes requests again as soon as its checks allow it.'],
      button: 'Enable', done: `${b.address} is enabled`,
      run: () => post(path(pool, b.address, 'enable')).then(after),
    });
  },
  weight(pool, b, after) {
    confirm({
      title: `Weight of ${b.address}`,
      lines: ['0 keeps its bound clients and gives it no new ones. Empty takes the configured weight again.'],
      fields: [{ name: 'weight', label: 'Weight, 0 to 65535', value: String(b.weight), mode: 'numeric' }],
      button: 'Set weight', done: `${b.address} has a new weight`,
      run(v) {
        const n = v.weight === '' ? null : Number(v.weight);
        if (n !== null && !(Number.isInteger(n) && n >= 0 && n <= 65535)) throw new Error('The weight is a whole number from 0 to 65535.');
        return post(path(pool, b.address, 'weight'), { weight: n }).then(after);
      },
    });
  },
};

/** release lets those go that the guard holds. */
export function release(pool, held, after) {
  confirm({
    title: `Release ${held.length === 1 ? 'one held backend' : `${held.length} held backends`} of ${pool}?`,
    lines: ['The registry has removed them and Steelyard did not believe it. Released, they drain and leave the pool:', held.slice(0, 12).join(', ') + (held.length > 12 ? ` and ${held.length - 12} more` : '')],
    button: 'Release', done: (n) => `${n.released === 1 ? 'One backend was' : `${n.released} backends were`} released`,
    run: () => post(`/api/v1/pools/${encodeURIComponent(pool)}/release`).then((answer) => { after?.(); return answer; }),
  });
}

/** reload reads the configuration file anew. */
export function reload(after) {
  confirm({
    title: 'Reload the configuration?',
    lines: ['The file is read anew. If it has errors, the generation in force goes on and they are shown here.'],
    button: 'Reload', done: 'The configuration was reloaded',
    run: () => post('/api/v1/reload').finally(() => after?.()),
  });
}

/** login asks for the token until one is right. */
export function login(message) {
  return new Promise((done) => {
    if (document.getElementById('token')) return;
    const input = h('input', { id: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
    const fault = h('p', { class: 'fault', role: 'alert' }, message);
    const go = h('button', { class: 'main', 'data-do': 'login' }, 'Log in');
    const form = h('form', { method: 'dialog' }, h('h2', { id: 'login-title' }, 'This API needs its token'),
      h('p', { class: 'soft' }, 'It is the value of admin.token, or the first line of admin.token_file. It is kept for this tab alone, until it is closed.'),
      h('label', {}, 'Token', input), fault, h('div', { class: 'actions' }, go));
    const dialog = h('dialog', { 'aria-labelledby': 'login-title' }, form);
    let right = false;
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      text(fault, '');
      go.disabled = true;
      try {
        await tryToken(input.value.trim());
        right = true;
        dialog.remove();
        done();
      } catch (error) {
        text(fault, error.message);
        input.select();
      }
      go.disabled = false;
    });
    dialog.addEventListener('cancel', (event) => event.preventDefault());
    dialog.addEventListener('close', () => { if (!right) dialog.showModal(); }); // browsers close it at the second Escape
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
