// Builds and updates the page. Everything that comes from outside goes in as
// text: nothing here can make markup of it.

const SVG = 'http' + '://www.w3.org/2000/svg';

function fill(el, attrs, kids) {
  for (const [name, value] of Object.entries(attrs ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') el.addEventListener(name, value);
    else el.setAttribute(name, value === true ? '' : value);
  }
  for (const kid of kids.flat()) {
    if (kid !== undefined && kid !== null && kid !== false) el.append(kid instanceof Node ? kid : String(kid));
  }
  return el;
}

/** h makes an element; attributes that are functions become event listeners. */
export const h = (tag, attrs, ...kids) => fill(document.createElement(tag), attrs, kids);

/** s is h for SVG. */
export const s = (tag, attrs, ...kids) => fill(document.createElementNS(SVG, tag), attrs, kids);

/** text sets an element's text if it differs, so that selections and screen
 *  readers are left alone by what stays. */
export function text(el, value) {
  const v = String(value ?? '');
  if (el.textContent !== v) el.textContent = v;
  return el;
}

/** attr sets an attribute if it differs; null removes it. */
export function attr(el, name, value) {
  if (value === null || value === undefined || value === false) el.removeAttribute(name);
  else if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value === true ? '' : value);
  return el;
}

/** list keeps the children of a container in step with items: one child per key,
 *  made once, updated each time, in this order. make returns {el, update}. */
export function list(container, items, key, make) {
  const kept = container.kept ??= new Map();
  const seen = new Set();
  let at = container.firstChild;
  for (const item of items) {
    const k = key(item);
    if (seen.has(k)) continue;
    seen.add(k);
    let part = kept.get(k);
    if (!part) kept.set(k, part = make(item));
    part.update?.(item);
    if (part.el === at) at = at.nextSibling;
    else container.insertBefore(part.el, at);
  }
  for (const [k, part] of kept) {
    if (!seen.has(k)) {
      kept.delete(k);
      part.el.remove();
    }
  }
}

/** once replaces the children of el, unless what they are made from is the same
 *  as the last time. */
export function once(el, value, make) {
  const signature = JSON.stringify(value);
  if (el.signature === signature) return;
  el.signature = signature;
  el.replaceChildren(...[make(value)].flat().filter(Boolean));
}

/** say tells something in passing: on the page, and to screen readers. */
export function say(message, kind = 'ok') {
  const box = document.getElementById('said');
  const note = h('p', { class: `note ${kind}` }, h('i', { class: `shape ${kind}`, 'aria-hidden': 'true' }), message);
  box.replaceChildren(note);
  clearTimeout(box.timer);
  box.timer = setTimeout(() => note.remove(), 8000);
}
