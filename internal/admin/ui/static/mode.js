// Whether anything can be changed from here, as the admin API says, and why not.

import { text, attr } from './dom.js';

let why = '';

/** mode takes an answer of GET /api/v1/session. */
export function mode(session) {
  why = session.read_only ? session.why || 'the admin API is read-only' : '';
  text(document.getElementById('mode'), why && `Nothing can be changed here: ${why}.`);
}

/** lock disables a button that changes something: while nothing can be changed,
 *  with the reason, or while when is true. */
export function lock(button, when = false) {
  attr(button, 'disabled', Boolean(why) || Boolean(when));
  attr(button, 'title', why ? `Not possible: ${why}` : null);
  attr(button, 'aria-describedby', why ? 'mode' : null);
}
