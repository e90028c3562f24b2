// The connection to the gateway: requests with the bearer, and the feed of all live data.

const session = { bearer: null };

function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (session.bearer) headers.set("Authorization", `Bearer ${session.bearer}`);
  return fetch(path, {
    ...options,
    headers,
    cache: "no-store",
    redirect: "error",
    credentials: "omit",
  });
}

// The problem document of an answer, or one for an answer that has none.
async function problemOf(response) {
  const fallback = {
    detail: `HTTP ${response.status} ${response.statusText}`,
    status: response.status,
  };
  try {
    const text = await response.text();
    return { ...fallback, ...parseExact(text) };
  } catch {
    return fallback;
  }
}

async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function* linesOf(body) {
  let parts = [];
  for await (const text of texts(body)) {
    const lines = text.split("\n");
    for (let i = 0; i < lines.length - 1; i += 1) {
      parts.push(lines[i]);
      yield parts.length === 1 ? parts[0] : parts.join("");
      parts = [];
    }
    const rest = lines[lines.length - 1];
    if (rest) parts.push(rest);
  }
  if (parts.length) yield parts.join("");
}

// Figures are live if the feed has said something within this time; it does so about once a second.
const LATE_MS = 5000;
// After this much silence the connection is taken for lost.
const LOST_MS = 15000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;

class Feed {
  // `heard(event, data)` for each event; `changed(state)` when the state of the connection changes.
  constructor(heard, changed) {
    this.heard = heard;
    this.changed = changed;
    this.state = { name: "off", since: null, why: null };
    this.pause = FIRST_PAUSE_MS;
    this.run = 0;
    setInterval(() => this.watch(), 1000);
  }

  set(name, why = null) {
    if (this.state.name === name && this.state.why === why) return;
    // "Since" is when the figures that are shown were current.
    this.state = { name, why, since: this.lastHeard ?? Date.now() };
    this.changed(this.state);
  }

  open() {
    this.close();
    this.run += 1;
    this.pause = FIRST_PAUSE_MS;
    this.lastHeard = null;
    this.set("connecting");
    this.keep(this.run);
  }

  close() {
    this.run += 1;
    this.abort?.abort();
    this.wake?.();
    this.set("off");
  }

  // Does not wait any longer before it tries again.
  retry() {
    this.pause = FIRST_PAUSE_MS;
    this.wake?.();
  }

  watch() {
    if (this.state.name !== "live" && this.state.name !== "late") return;
    const silent = performance.now() - this.heardAt;
    if (silent > LOST_MS) this.abort?.abort();
    else if (silent > LATE_MS) this.set("late");
  }

  async keep(run) {
    while (run === this.run) {
      const outcome = await this.read(run);
      if (run !== this.run) return;
      if (outcome.final) {
        this.set(outcome.final, outcome.why);
        return;
      }
      this.set("lost", outcome.why);
      // Not all pages at the same time after a restart.
      const pause = this.pause * (0.5 + Math.random() / 2);
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, pause);
      });
      this.pause = Math.min(this.pause * 1.6, LONGEST_PAUSE_MS);
    }
  }

  async read(run) {
    const abort = new AbortController();
    this.abort = abort;
    // A connection that is never answered must not look like one that is being made.
    const tooLong = setTimeout(() => abort.abort(), LOST_MS);
    try {
      const response = await request("/feed", {
        headers: { Accept: "text/event-stream" },
        signal: abort.signal,
      });
      if (!response.ok) {
        const problem = await problemOf(response);
        if (response.status === 401) return { final: "refused", why: problem.detail };
        if (response.status === 403) return { final: "forbidden", why: problem.detail };
        return { why: problem.detail };
      }
      clearTimeout(tooLong);
      this.heardAt = performance.now();
      this.heard("begin", null);
      let event = "message",
        data = [];
      for await (const line of linesOf(response.body)) {
        if (run !== this.run) return {};
        this.heardAt = performance.now();
        const text = line.endsWith("\r") ? line.slice(0, -1) : line;
        if (text === "") {
          if (data.length) this.pass(event, data.join("\n"));
          event = "message";
          data = [];
        } else if (text.startsWith("event:")) event = text.slice(6).trim();
        else if (text.startsWith("data:")) data.push(text.slice(5).replace(/^ /, ""));
      }
      return { why: "the gateway has closed the feed" };
    } catch {
      return { why: "the gateway does not answer" };
    } finally {
      clearTimeout(tooLong);
      abort.abort();
    }
  }

  pass(event, text) {
    this.lastHeard = Date.now();
    this.pause = FIRST_PAUSE_MS;
    this.set("live");
    this.heard(event, JSON.parse(text));
  }
}
