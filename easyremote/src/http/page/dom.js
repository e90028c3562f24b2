// Elements, figures and JSON. Text is always set as text: much of it was written by peers.

const $ = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// These write only what has changed, so that a browser has nothing to do where nothing happens.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

// Puts `wanted` into `parent` in this order, and moves no child that is in its place already.
function place(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const child of wanted) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}

// Shows a text of a program, in which `names` are marked as in its documentation.
function setMarked(node, text) {
  if (node.markedText === text) return;
  node.markedText = text;
  const parts = text.split(/`([^`\n]+)`/);
  node.replaceChildren(...parts.map((part, i) => (i % 2 ? el("code", {}, part) : part)));
}

// Says one thing to screen readers.
function say(text) {
  $("said").textContent = text;
}

function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

function trimmed(number, digits) {
  const text = number.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function count(n) {
  if (!Number.isFinite(n)) return "–";
  if (n < 1e4) return String(Math.round(n));
  for (const [size, unit] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  }
}

function rate(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return "–";
  if (n === 0) return "0";
  if (n < 0.1) return "<0.1";
  return n < 100 ? trimmed(n, 1) : count(n);
}

function seconds(s) {
  if (s === null || s === undefined || !Number.isFinite(s)) return "–";
  if (s < 1e-3) return `${trimmed(s * 1e6, 0)} µs`;
  if (s < 1) return `${(s * 1e3).toFixed(s < 0.01 ? 1 : 0)} ms`;
  if (s < 60) return `${s.toFixed(s < 9.95 ? 1 : 0)} s`;
  for (const [length, unit] of [
    [86400, "d"],
    [3600, "h"],
  ])
    if (s >= length) return `${(s / length).toFixed(1)} ${unit}`;
  return `${(s / 60).toFixed(1)} min`;
}

// A time that passes, in whole seconds.
function span(s) {
  const n = Math.max(0, Math.floor(s));
  if (n < 60) return `${n} s`;
  if (n < 3600) return `${Math.floor(n / 60)} m ${n % 60} s`;
  if (n < 86400) return `${Math.floor(n / 3600)} h ${Math.floor((n % 3600) / 60)} m`;
  return `${Math.floor(n / 86400)} d ${Math.floor((n % 86400) / 3600)} h`;
}

function bytes(n) {
  if (!Number.isFinite(n)) return "–";
  for (const [size, unit] of [
    [2 ** 40, "TiB"],
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ]) {
    if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  }
  return `${n} B`;
}

function figure(n) {
  if (!Number.isFinite(n)) return "–";
  const size = Math.abs(n);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return n.toExponential(2);
  return Number.isInteger(n) ? String(n) : trimmed(n, size < 1 ? 4 : 2);
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}

// Numbers that JavaScript would round keep their digits, where the browser can do that.
function parseExact(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) => {
    const isRounded =
      typeof value === "number" &&
      context?.source &&
      (Number.isInteger(value) ? !Number.isSafeInteger(value) : context.source.length > 17);
    return isRounded ? JSON.rawJSON(context.source) : value;
  });
}

function pretty(text) {
  try {
    return JSON.stringify(parseExact(text), null, 2);
  } catch {
    return text;
  }
}

function cut(text, length) {
  return text.length > length
    ? `${text.slice(0, length)} … (${count(text.length)} characters)`
    : text;
}

// "gpu-2" comes before "gpu-10".
const collator = new Intl.Collator(undefined, { numeric: true });

const pick = {
  get(key, store = sessionStorage) {
    try {
      return store.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value, store = sessionStorage) {
    try {
      if (value === null) store.removeItem(key);
      else store.setItem(key, value);
    } catch {
      /* A browser may refuse to keep anything. */
    }
  },
};
