// What the feed has said so far, and how fast it changes.

// A rate over some seconds, and its history for a small plot.
class Rate {
  constructor() {
    this.samples = [];
    this.history = [];
  }

  sample(at, total) {
    const last = this.samples.at(-1);
    if (last && at === last.at) return;
    // Another gateway, or the same one after a restart, counts from zero.
    if (last && (total < last.total || at < last.at)) {
      this.samples = [];
    } else if (last) {
      this.history.push((total - last.total) / (at - last.at));
      if (this.history.length > Rate.KEPT) this.history.shift();
    }
    this.samples.push({ at, total });
    while (this.samples.length > 2 && at - this.samples[0].at > Rate.OVER) this.samples.shift();
  }

  get now() {
    const first = this.samples[0],
      last = this.samples.at(-1);
    return this.samples.length < 2 ? null : (last.total - first.total) / (last.at - first.at);
  }
}
// In seconds: short enough to follow, long enough not to flicker.
Rate.OVER = 5;
Rate.KEPT = 60;

const sum = (values) => values.reduce((all, value) => all + value, 0);
const ended = (it) => it.returned + failures(it);
const failures = (it) => it.faults + sum(Object.values(it.errors ?? {}));

class Model {
  constructor() {
    this.key = {
      nodes: "id",
      functions: "function",
      streams: "key",
      calls: "key",
      waiting: "key",
      jobs: "key",
    };
    this.clear();
  }

  clear() {
    this.gateway = null;
    for (const kind of Object.keys(this.key)) this[kind] = new Map();
    this.more = {};
    this.told = new Set();
    this.errors = [];
    this.nErrors = 0;
    this.rates = new Map();
    this.begin();
  }

  // A new connection: the first event of each kind has everything.
  begin() {
    this.fresh = new Set([...Object.keys(this.key), "errors"]);
    this.hasFunctions = false;
  }

  apply(event, data) {
    if (event === "gateway") {
      this.sample();
      this.gateway = data;
    } else if (event === "errors") {
      if (this.fresh.delete("errors")) this.errors = [];
      this.told.add(event);
      for (const row of data.added) row.n = this.nErrors += 1;
      this.errors = [...this.errors, ...data.added].slice(-100);
    } else if (this.key[event]) {
      if (this.fresh.delete(event)) this[event].clear();
      this.told.add(event);
      const at = performance.now();
      for (const key of data.removed ?? []) this[event].delete(key);
      for (const row of data.changed ?? []) {
        row.at = at;
        this[event].set(row[this.key[event]], row);
      }
      if ("more" in data) this.more[event] = data.more;
      if (event === "functions") this.hasFunctions = true;
    }
  }

  // Called before the first event of a second, so that all that is counted belongs together.
  sample() {
    if (!this.gateway) return;
    const at = this.gateway.uptime_seconds;
    const seen = new Set();
    const note = (name, total) => {
      seen.add(name);
      if (!this.rates.has(name)) this.rates.set(name, new Rate());
      this.rates.get(name).sample(at, total);
    };
    note("calls", this.gateway.stats.calls);
    // Before the figures of the functions have come, there is nothing to count from.
    if (this.hasFunctions) note("failures", sum([...this.functions.values()].map(failures)));
    for (const [name, it] of this.functions) {
      note(`f ${name}`, it.kind === "stream" || it.kind === "duplex" ? it.items : ended(it));
      note(`e ${name}`, failures(it));
    }
    for (const [key, it] of this.streams) note(`s ${key}`, it.items);
    for (const name of this.rates.keys()) if (!seen.has(name)) this.rates.delete(name);
  }

  rate(name) {
    return this.rates.get(name);
  }
}

// A time that goes on between two events of the feed, but not after the connection was lost.
const time = { now: () => performance.now() };
function since(row, value) {
  return value === null || value === undefined
    ? null
    : value + Math.max(0, time.now() - row.at) / 1000;
}
