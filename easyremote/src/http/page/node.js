// The panel of one node: all that it says of itself, which has no room in a row.

const LISTED_FUNCTIONS = 200;

// A list of names and values whose elements stay while their names do.
class Facts {
  constructor() {
    this.node = el("dl", { class: "facts" });
    this.shown = new Map();
  }

  update(facts) {
    const known = new Map(facts);
    for (const [name, { row }] of this.shown)
      if (!known.has(name)) {
        row.remove();
        this.shown.delete(name);
      }
    const wanted = facts.map(([name, text]) => {
      if (!this.shown.has(name)) {
        const value = el("dd");
        this.shown.set(name, { row: el("div", {}, el("dt", {}, name), value), value });
      }
      const { row, value } = this.shown.get(name);
      setText(value, text);
      return row;
    });
    place(this.node, wanted);
    this.node.hidden = facts.length === 0;
  }
}

class NodePanel {
  constructor(root, closed) {
    this.root = root;
    this.closed = closed;
    this.name = null;
  }

  close() {
    if (this.name === null) return;
    this.name = null;
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  open(id, info) {
    this.close();
    this.name = id;
    this.root.hidden = false;
    const title = el("h2", { id: "panel-title", class: "mono", tabindex: "-1" }, id);
    this.state = el("p", { class: "muted" });
    this.load = new Facts();
    this.gauges = new Facts();
    this.gaugesTitle = el("h3", {}, "Gauges of its program");
    this.functionsTitle = el("h3");
    this.functions = el("ul", { class: "names" });
    this.rest = el("p", { class: "hint" });
    this.root.append(
      el(
        "div",
        { class: "panel-head" },
        title,
        el("button", { type: "button", class: "small", onclick: () => this.closed() }, "Close"),
      ),
      this.state,
      this.load.node,
      this.gaugesTitle,
      this.gauges.node,
      this.functionsTitle,
      this.functions,
      this.rest,
    );
    this.update(info);
    title.focus();
  }

  update(info) {
    if (this.name === null) return;
    if (!info) return setText(this.state, "It is not connected now.");
    setText(
      this.state,
      info.in_flight
        ? `It runs ${plural(info.in_flight, "call")} of this gateway.`
        : "It runs no call of this gateway.",
    );
    const { load } = info,
      facts = [];
    if (info.tags.length) facts.push(["Tags", info.tags.join(", ")]);
    if (info.avoided_for?.length) facts.push(["Avoided for", info.avoided_for.join(", ")]);
    if (load) {
      facts.push([
        "Calls in all",
        `${count(load.in_flight)}, of them ${count(load.waiting)} waiting`,
      ]);
      if (typeof load.cpu_percent === "number") facts.push(["CPU", `${load.cpu_percent} %`]);
      if (load.memory)
        facts.push(["Memory", `${bytes(load.memory.used)} of ${bytes(load.memory.total)}`]);
    }
    this.load.update(facts);
    const gauges = Object.entries(info.gauges ?? {}).map(([name, value]) => [name, figure(value)]);
    this.gauges.update(gauges);
    this.gaugesTitle.hidden = gauges.length === 0;
    const names = info.functions.slice(0, LISTED_FUNCTIONS),
      shown = [...this.functions.children].map((it) => it.textContent);
    setText(this.functionsTitle, `${plural(info.functions.length, "function")}`);
    if (names.join("\n") !== shown.join("\n")) {
      this.functions.replaceChildren(
        ...names.map((name) => {
          const item = el("li");
          functionButton(item)({ function: name });
          return item;
        }),
      );
    }
    this.rest.hidden = info.functions.length <= LISTED_FUNCTIONS;
    setText(this.rest, `and ${plural(info.functions.length - LISTED_FUNCTIONS, "other")}`);
  }
}
