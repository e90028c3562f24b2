// The first thing to see: whether all is well, and the figures behind it.

// The tiles: figures of the gateway as a whole, each a way to the section behind it.
function tilesOf(model) {
  const build = (label, target, withSpark) => {
    const value = el("span", { class: "value" }),
      hint = el("span", { class: "tile-hint" });
    const link = el(
      "a",
      { class: "tile", href: `#${target}` },
      el("span", { class: "label" }, label),
      value,
      hint,
    );
    const draw = withSpark ? spark(link) : null;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      visit(target);
    });
    $("tiles").append(el("li", {}, link));
    return (text, more, level, history) => {
      setText(value, text);
      setText(hint, more);
      setAttr(link, "data-level", level);
      draw?.(history);
    };
  };
  const tiles = {
    calls: build("Calls / s", "functions", true),
    errors: build("Errors / s", "errors", true),
    running: build("Running", "calls"),
    waiting: build("Waiting", "waiting"),
    nodes: build("Nodes", "nodes"),
    streams: build("Streams", "streams"),
  };
  return (facts) => {
    const { stats } = model.gateway;
    const calls = model.rate("calls"),
      errors = model.rate("failures");
    tiles.calls(rate(calls?.now), `${count(stats.calls)} in all`, null, calls?.history);
    tiles.errors(
      rate(errors?.now),
      `${count(facts.failed)} in all`,
      errors?.now > 0 ? "bad" : null,
      errors?.history,
    );
    tiles.running(
      count(stats.in_flight - stats.waiting),
      `for ${plural(stats.clients, "client")}`,
      null,
    );
    tiles.waiting(
      count(stats.waiting),
      stats.waiting ? `longest ${span(facts.longest)}` : "none",
      stats.waiting ? "warn" : null,
    );
    tiles.nodes(count(stats.nodes), `${count(facts.busy)} busy`, stats.nodes ? null : "bad");
    tiles.streams(
      count(stats.streams),
      facts.stalled ? `${count(facts.stalled)} stalled` : "none stalled",
      facts.stalled ? "warn" : null,
    );
  };
}

function factsOf(model) {
  const streams = [...model.streams.values()],
    waiting = [...model.waiting.values()];
  const kinds = new Map();
  const recent = model.gateway ? model.gateway.now - 60000 : 0;
  for (const it of model.errors)
    if (it.at > recent) kinds.set(it.kind, (kinds.get(it.kind) ?? 0) + 1);
  return {
    busy: [...model.nodes.values()].filter((it) => it.in_flight > 0).length,
    stalled: streams.filter(
      (it) => it.stalled_for_seconds !== null && it.stalled_for_seconds !== undefined,
    ).length,
    longest: Math.max(0, ...waiting.map((it) => since(it, it.waited_seconds))),
    failed: sum([...model.functions.values()].map(failures)),
    avoided: [...model.nodes.values()].filter((it) => it.avoided_for?.length).length,
    kinds: [...kinds].sort((a, b) => b[1] - a[1]),
  };
}

// One line that says whether all is well, and what is not: the worst first.
function verdictOf(model, facts) {
  const { stats, draining } = model.gateway;
  const wrong = { bad: [], warn: [] };
  if (!stats.nodes) wrong.bad.push("No node is connected");
  const failing = model.rate("failures")?.now ?? 0;
  if (failing > 0) {
    const kinds = facts.kinds
      .slice(0, 2)
      .map(([kind]) => kind)
      .join(", ");
    wrong.bad.push(
      `${rate(failing)} ${rate(failing) === "1" ? "error" : "errors"}/s${kinds ? ` (${kinds})` : ""}`,
    );
  }
  if (draining) wrong.warn.push("The gateway drains");
  if (stats.waiting) wrong.warn.push(plural(stats.waiting, "call waits", "calls wait"));
  if (facts.stalled) wrong.warn.push(`${plural(facts.stalled, "stream")} stalled`);
  if (facts.avoided) wrong.warn.push(`${plural(facts.avoided, "node")} avoided`);
  const all = [...wrong.bad, ...wrong.warn];
  if (!all.length) return { level: "good", text: "All is well" };
  return { level: wrong.bad.length ? "bad" : "warn", text: all.join(" · ") };
}
