// A call or a stream that was started from the page, from its request to its outcome.

const SHOWN_ITEMS = 100,
  SHOWN_CHARACTERS = 200000,
  SHOWN_OF_ITEM = 2000,
  REPAINT_MS = 100;

// What `executed` says, for people.
const EXECUTED_TEXT = {
  No: "No: the function has not started",
  Maybe: "Maybe: the function may have run",
  Yes: "Yes: the function has run",
};

function outcomeView(level, title, facts, text) {
  const rows = facts.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return el(
    "div",
    { class: "outcome", "data-level": level },
    el("h3", {}, title),
    rows.length
      ? el(
          "dl",
          { class: "facts" },
          ...rows.map(([name, value]) =>
            el("div", {}, el("dt", {}, name), el("dd", {}, String(value))),
          ),
        )
      : null,
    text === undefined
      ? null
      : el(
          "pre",
          { tabindex: "0", role: "group", "aria-label": "Value" },
          cut(text, SHOWN_CHARACTERS),
        ),
  );
}

function problemView(problem, elapsed) {
  const isOwn = problem.kind === "Function";
  const title = isOwn ? "The function returned an error" : `${problem.kind ?? "Error"}`;
  const value =
    isOwn && problem.error !== undefined ? JSON.stringify(problem.error, null, 2) : undefined;
  return outcomeView(
    "bad",
    title,
    [
      ["Message", isOwn && value !== undefined ? undefined : problem.detail],
      ["Kind", problem.kind],
      ["Executed", EXECUTED_TEXT[problem.executed] ?? problem.executed],
      ["Node", problem.node],
      ["Items delivered", problem.delivered],
      ["Status", problem.status],
      ["Time taken", elapsed === undefined ? undefined : seconds(elapsed)],
    ],
    value,
  );
}

// How a request without an answer ended: the function may have run.
function lostView(isCancelled, elapsed) {
  return isCancelled
    ? outcomeView("none", "Cancelled", [
        ["Executed", EXECUTED_TEXT.Maybe],
        ["After", seconds(elapsed)],
      ])
    : outcomeView("bad", "No answer", [
        ["Message", "The connection to the gateway was lost."],
        ["Executed", EXECUTED_TEXT.Maybe],
        ["After", seconds(elapsed)],
      ]);
}

class Run {
  // `request` has path, headers and body; `isStream` says what comes back.
  constructor({ path, headers, body, isStream, ended }) {
    Object.assign(this, { path, headers, body, isStream, ended });
    this.abort = new AbortController();
    this.node = el("div", { class: "run" });
    this.outcome = el("div", { class: "outcome-place" });
    this.started = performance.now();
  }

  get elapsed() {
    return (performance.now() - this.started) / 1000;
  }

  stop() {
    this.isCancelled = true;
    this.abort.abort();
  }

  async start() {
    let view, said;
    if (this.isStream) this.showStream();
    this.node.append(this.outcome);
    try {
      const headers = {
        ...this.headers,
        Accept: this.isStream ? "application/x-ndjson" : "application/json",
      };
      const response = await request(this.path, {
        method: "POST",
        headers,
        body: this.body,
        signal: this.abort.signal,
      });
      if (!response.ok) {
        const problem = await problemOf(response);
        if (response.status === 401) refused(problem.detail);
        view = problemView(problem, this.elapsed);
        said = `Failed: ${problem.kind ?? problem.detail}`;
      } else if (this.isStream) {
        ({ view, said } = await this.readItems(response.body));
      } else {
        const text = await response.text();
        const node = response.headers.get("easyremote-node");
        view = outcomeView(
          "good",
          "Returned",
          [
            ["Time taken", seconds(this.elapsed)],
            ["Executed", EXECUTED_TEXT.Yes],
            ["Node", node],
          ],
          pretty(text),
        );
        said = `Returned after ${seconds(this.elapsed)}: ${text.slice(0, 100)}`;
      }
    } catch {
      view = lostView(this.isCancelled, this.elapsed);
      said = this.isCancelled ? "Cancelled" : "No answer";
    }
    clearInterval(this.painter);
    this.paint();
    this.outcome.replaceChildren(view);
    say(said);
    this.ended();
  }

  showStream() {
    Object.assign(this, { items: 0, faults: 0, bytes: 0, recent: [] });
    this.chart = new Chart();
    this.status = el("p", { class: "stream-status" });
    this.list = el("ol");
    const scroller = el(
      "div",
      { class: "items", tabindex: "0", role: "group", "aria-label": "Last items" },
      this.list,
    );
    this.node.append(this.status, this.chart.node, el("h3", {}, "Last items"), scroller);
    this.rate = new Rate();
    this.painter = setInterval(() => this.paint(), REPAINT_MS);
    this.paint();
  }

  async readItems(body) {
    let yielded = performance.now();
    for await (const line of linesOf(body)) {
      if (performance.now() - yielded > 30) {
        // Many items at once must not stop the page.
        await new Promise((resolve) => setTimeout(resolve));
        yielded = performance.now();
      }
      this.bytes += line.length + 1;
      if (!line.trim()) continue;
      const entry = JSON.parse(line);
      if ("item" in entry) {
        this.items += 1;
        this.chart.add(entry.item);
        // The text as it came: numbers keep their digits.
        this.keep("item", line.slice(line.indexOf(":") + 1, line.lastIndexOf("}")).trim());
      } else if ("error" in entry) {
        this.faults += 1;
        this.keep("error", JSON.stringify(entry.error));
      } else if ("end" in entry) {
        const facts = [
          ["Items", entry.end.items],
          ["Time taken", seconds(this.elapsed)],
        ];
        return {
          view: outcomeView("good", "The stream has ended", facts),
          said: `The stream has ended after ${this.items} items`,
        };
      } else if ("problem" in entry) {
        return {
          view: problemView(entry.problem, this.elapsed),
          said: `The stream has failed: ${entry.problem.kind}`,
        };
      }
    }
    const facts = [
      ["Message", "The stream was cut off before its end."],
      ["Items", this.items],
      ["Executed", EXECUTED_TEXT.Maybe],
    ];
    return { view: outcomeView("bad", "Cut off", facts), said: "The stream was cut off" };
  }

  keep(kind, text) {
    this.recent.push({ n: this.items + this.faults, kind, text });
    if (this.recent.length > SHOWN_ITEMS) this.recent.shift();
  }

  paint() {
    if (!this.isStream) return;
    this.rate.sample(this.elapsed, this.items);
    const facts = [
      plural(this.items, "item"),
      `${rate(this.rate.now)} a second`,
      bytes(this.bytes),
    ];
    if (this.faults) facts.push(plural(this.faults, "error"));
    if (!this.isCancelled) facts.push(seconds(this.elapsed));
    setText(this.status, facts.join(" · "));
    this.chart.draw(false);
    if (this.chart.isPaused) return;
    // Newest first, and the elements are used again.
    const { recent, list } = this;
    while (list.children.length < recent.length)
      list.append(el("li", {}, el("span", { class: "n" }), el("code")));
    [...list.children].forEach((li, i) => {
      const it = recent[recent.length - 1 - i];
      setText(li.firstChild, String(it.n));
      setText(li.lastChild, cut(it.text, SHOWN_OF_ITEM));
      setAttr(li, "data-level", it.kind === "error" ? "bad" : null);
    });
  }
}
