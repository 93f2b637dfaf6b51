// What the states of backends are called, and how each looks.

import { h, text, attr } from './dom.js';
import { until, since } from './format.js';

const KINDS = {
  healthy: ['ok', 'healthy'],
  slow_start: ['ok', 'slow start'],
  checking: ['wait', 'checking'],
  unreachable: ['bad', 'unreachable'],
  unhealthy: ['bad', 'unhealthy'],
  ejected: ['warn', 'ejected'],
  draining: ['off', 'draining'],
  disabled: ['off', 'disabled'],
};

export const kindOf = (state) => KINDS[state]?.[0] ?? 'wait';
export const wordOf = (state) => KINDS[state]?.[1] ?? state;

/** order sorts what is wrong first: lower is worse. */
const RANK = ['unhealthy', 'unreachable', 'ejected', 'checking', 'slow_start', 'draining', 'disabled', 'healthy'];
export const rankOf = (state) => (RANK.indexOf(state) + RANK.length) % RANK.length;

/** stateBadge is a shape and a word, with what goes with the state in time. */
export function stateBadge() {
  const shape = h('i', { 'aria-hidden': 'true' }), word = h('span');
  const el = h('span', {}, shape, word);
  return {
    el,
    update(b) {
      const kind = kindOf(b.state);
      attr(el, 'class', `state ${kind}`);
      attr(shape, 'class', `shape ${kind}`);
      text(word, wordOf(b.state));
    },
  };
}

/** detail says more about a state: how long, until when, how far, and why. */
export function detail(b) {
  const parts = [];
  if (b.state === 'slow_start') parts.push(`${b.percent} % of its weight`);
  if (b.state === 'draining' && b.drainUntil) parts.push(`${until(b.drainUntil)} left`);
  if (b.state === 'ejected' && b.ejectedUntil) parts.push(`back in ${until(b.ejectedUntil)}`);
  if (b.since) parts.push(`for ${since(b.since)}`);
  if (b.left) parts.push('has left its source');
  if (b.held) parts.push('held by the guard');
  if (b.reason) parts.push(b.reason);
  return parts.join(' · ');
}
