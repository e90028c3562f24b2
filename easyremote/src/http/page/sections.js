// The sections: a table or a list for each kind of thing.

// A name that leads to the panel of what has it.
function linkButton(parent, kind, name) {
  const button = el("button", { type: "button", class: "link mono" });
  button.addEventListener("click", () => {
    if (button.textContent) go(kind, button.textContent);
  });
  parent.append(button);
  return (row) => setText(button, name(row));
}

function functionButton(parent) {
  return linkButton(parent, "function", (row) => row.function);
}

function badge(parent, name = "") {
  const mark = el("span", { class: `badge ${name}` });
  parent.append(mark);
  return (text, level) => {
    setText(mark, text);
    setAttr(mark, "data-level", text === "0" ? "zero" : level);
    mark.hidden = !text;
  };
}

function bar(parent) {
  const fill = el("span", { class: "fill" });
  const label = el("span", { class: "bar-text" });
  parent.append(el("span", { class: "meter", "aria-hidden": "true" }, fill), label);
  return (share, text, most = 2) => {
    const width =
      share === null || share === undefined
        ? "0"
        : `${Math.min(100, Math.max(0, share * 100)).toFixed(0)}%`;
    if (fill.style.width !== width) fill.style.width = width;
    setAttr(fill, "data-level", share > most ? "warn" : null);
    setText(label, text);
  };
}

const who = (caller) =>
  caller ? `${caller.identity}${caller.address ? ` · ${caller.address}` : ""}` : "–";
const KIND = {
  unary: "call",
  stream: "stream",
  upload: "client stream",
  duplex: "both ways",
  operator: "operator",
};
const perSecond = (it) => (it.kind === "stream" || it.kind === "duplex" ? "items/s" : "calls/s");

function functionsTable(model) {
  return new LiveTable({
    id: "functions",
    title: "Functions",
    key: (it) => it.function,
    sort: { column: 0, way: 1 },
    filter: (it) => it.function,
    empty: "No node offers a function that this bearer may call.",
    columns: [
      {
        label: "Function",
        sort: (it) => it.function,
        cell: (td) => {
          const name = functionButton(td),
            kind = el("span", { class: "kind" });
          td.append(kind);
          return (it) => {
            name(it);
            setText(kind, KIND[it.kind] ?? it.kind ?? "");
          };
        },
      },
      {
        label: "Rate",
        width: [150, 60],
        num: true,
        sort: (it) => model.rate(`f ${it.function}`)?.now ?? null,
        cell: (td) => {
          const text = el("span"),
            unit = el("span", { class: "unit" });
          const draw = spark(td);
          td.append(text, unit);
          return (it) => {
            const of = model.rate(`f ${it.function}`);
            draw(of?.history);
            setText(text, rate(of?.now));
            setText(unit, of?.now === null || of === undefined ? "" : ` ${perSecond(it)}`);
          };
        },
      },
      {
        label: "p50",
        width: [74],
        num: true,
        priority: 3,
        sort: (it) => it.ran?.p50_seconds,
        text: (it) => seconds(it.ran?.p50_seconds),
      },
      {
        label: "p99",
        width: [84, 72],
        num: true,
        sort: (it) => it.ran?.p99_seconds,
        text: (it) => seconds(it.ran?.p99_seconds),
      },
      {
        label: "Running",
        width: [80],
        num: true,
        priority: 3,
        sort: (it) => it.in_flight - it.waiting,
        cell: (td) => {
          const show = badge(td);
          return (it) =>
            show(count(it.in_flight - it.waiting), it.in_flight > it.waiting ? "busy" : "none");
        },
      },
      {
        label: "Waiting",
        width: [80, 74],
        num: true,
        sort: (it) => it.waiting,
        cell: (td) => {
          const show = badge(td);
          return (it) => show(count(it.waiting), it.waiting ? "warn" : "none");
        },
      },
      {
        label: "Errors",
        width: [132],
        priority: 2,
        sort: (it) => -failures(it),
        cell: (td) => {
          const show = badge(td),
            kinds = el("span", { class: "muted clip" });
          td.append(" ", kinds);
          return (it) => {
            const all = Object.entries(it.errors ?? {}).sort((a, b) => b[1] - a[1]);
            if (it.faults) all.unshift(["own", it.faults]);
            const n = failures(it),
              isNew = (model.rate(`e ${it.function}`)?.now ?? 0) > 0;
            show(count(n), isNew ? "bad" : "none");
            setText(kinds, all.map(([kind, times]) => `${kind} ${count(times)}`).join(", "));
          };
        },
      },
      {
        label: "Nodes",
        width: [70],
        num: true,
        priority: 3,
        sort: (it) => it.nodes,
        text: (it) => count(it.nodes),
      },
    ],
  });
}

function nodesTable() {
  const gauges = (it) => Object.entries(it.gauges ?? {});
  const running = (it) => it.in_flight - 0;
  return new LiveTable({
    id: "nodes",
    title: "Nodes",
    key: (it) => it.id,
    sort: { column: 0, way: 1 },
    empty: "No node is connected.",
    filter: (it) => `${it.id} ${it.tags.join(" ")} ${it.functions.join(" ")}`,
    columns: [
      {
        label: "Node",
        sort: (it) => it.id,
        cell: (td) => {
          const id = linkButton(td, "node", (it) => it.id),
            tags = el("span", { class: "tags clip" });
          td.append(tags);
          const avoided = badge(td, "avoided");
          return (it) => {
            id(it);
            setText(tags, it.tags.join(" · "));
            avoided(
              it.avoided_for?.length ? `avoided for ${it.avoided_for.join(", ")}` : "",
              "warn",
            );
          };
        },
      },
      {
        label: "Running",
        width: [88, 84],
        num: true,
        sort: running,
        cell: (td) => {
          const show = badge(td);
          return (it) => show(count(running(it)), running(it) ? "busy" : "none");
        },
      },
      {
        label: "Waiting",
        width: [84],
        num: true,
        priority: 3,
        sort: (it) => it.load?.waiting ?? null,
        text: (it) => (it.load ? count(it.load.waiting) : "–"),
      },
      {
        label: "CPU",
        width: [98, 62],
        num: true,
        sort: (it) => it.load?.cpu_percent ?? null,
        cell: (td) => {
          const draw = bar(td);
          return (it) => {
            const cpu = it.load?.cpu_percent;
            draw(
              cpu === null || cpu === undefined ? null : cpu / 100,
              cpu === null || cpu === undefined ? "–" : `${cpu} %`,
              0.9,
            );
          };
        },
      },
      {
        label: "Memory",
        width: [122],
        num: true,
        priority: 2,
        sort: (it) => (it.load?.memory ? it.load.memory.used / it.load.memory.total : null),
        cell: (td) => {
          const draw = bar(td);
          return (it) => {
            const memory = it.load?.memory;
            draw(
              memory ? memory.used / memory.total : null,
              memory ? bytes(memory.used) : "–",
              0.9,
            );
          };
        },
      },
      {
        label: "Gauges",
        width: [164],
        priority: 2,
        sort: (it) => gauges(it)[0]?.[1] ?? null,
        cell: (td) => {
          const list = el("span", { class: "clip mono" });
          td.append(list);
          return (it) => {
            const text = gauges(it)
              .map(([name, value]) => `${name} ${figure(value)}`)
              .join("  ");
            setText(list, text || "–");
            setAttr(list, "title", text);
          };
        },
      },
      {
        label: "Functions",
        width: [92],
        num: true,
        priority: 3,
        sort: (it) => it.functions.length,
        text: (it) => count(it.functions.length),
      },
    ],
  });
}

function streamsTable(model) {
  const isStalled = (it) => it.stalled_for_seconds !== null && it.stalled_for_seconds !== undefined;
  const rateOf = (it) => model.rate(`s ${it.key}`);
  return new LiveTable({
    id: "streams",
    title: "Live streams",
    key: (it) => it.key,
    sort: { column: 3, way: -1 },
    empty: "No stream is open.",
    filter: (it) => `${it.function} ${it.node} ${who(it.caller)}`,
    columns: [
      { label: "Function", sort: (it) => it.function, cell: functionButton },
      {
        label: "Reader",
        width: [104],
        priority: 2,
        sort: (it) => who(it.caller),
        cell: (td) => {
          const text = el("span", { class: "clip" });
          td.append(text);
          return (it) => {
            setText(text, it.caller?.identity ?? "–");
            setAttr(text, "title", who(it.caller));
          };
        },
      },
      {
        label: "Items / s",
        width: [116, 70],
        num: true,
        sort: (it) => rateOf(it)?.now ?? null,
        cell: (td) => {
          const text = el("span"),
            draw = spark(td);
          td.append(text);
          return (it) => {
            draw(rateOf(it)?.history);
            setText(text, rate(rateOf(it)?.now));
          };
        },
      },
      {
        label: "State",
        width: [148, 144],
        sort: (it) => (isStalled(it) ? 1e9 + since(it, it.stalled_for_seconds) : -it.quiet_seconds),
        num: true,
        cell: (td) => {
          const show = badge(td);
          return (it) => {
            if (isStalled(it))
              return show(`stalled ${span(since(it, it.stalled_for_seconds))}`, "warn");
            const quiet = since(it, it.quiet_seconds);
            return quiet >= 3 ? show(`quiet ${span(quiet)}`, "none") : show("flowing", "good");
          };
        },
      },
      {
        label: "Items",
        width: [70],
        num: true,
        priority: 2,
        sort: (it) => it.items,
        text: (it) => count(it.items),
      },
      {
        label: "Skipped",
        width: [76],
        num: true,
        priority: 3,
        sort: (it) => it.skipped,
        text: (it) => count(it.skipped),
      },
      {
        label: "Node",
        width: [84],
        priority: 2,
        sort: (it) => it.node,
        text: (it) => it.node ?? "–",
      },
      {
        label: "Open for",
        width: [90],
        num: true,
        priority: 3,
        sort: (it) => since(it, it.age_seconds),
        text: (it) => span(since(it, it.age_seconds)),
      },
    ],
  });
}

function callsTable() {
  return new LiveTable({
    id: "calls",
    title: "Calls under way",
    key: (it) => it.key,
    sort: { column: 4, way: -1 },
    empty: "No call is under way.",
    columns: [
      { label: "Function", sort: (it) => it.function, cell: functionButton },
      { label: "Node", width: [110, 72], sort: (it) => it.node, text: (it) => it.node ?? "–" },
      {
        label: "Caller",
        width: [120],
        priority: 2,
        sort: (it) => it.identity,
        text: (it) => it.identity ?? "–",
      },
      {
        label: "Running",
        width: [88, 84],
        num: true,
        sort: (it) => it.running,
        text: (it) => count(it.running),
      },
      {
        label: "Longest",
        width: [100, 82],
        num: true,
        sort: (it) => since(it, it.oldest_seconds),
        text: (it) =>
          it.oldest_seconds === undefined || it.oldest_seconds === null
            ? "–"
            : span(since(it, it.oldest_seconds)),
      },
    ],
  });
}

function jobsTable() {
  return new LiveTable({
    id: "jobs",
    title: "Jobs",
    key: (it) => it.key,
    sort: { column: 4, way: 1 },
    empty: "No job is known here.",
    columns: [
      { label: "Function", sort: (it) => it.function, cell: functionButton },
      {
        label: "State",
        width: [100, 84],
        sort: (it) => it.state,
        cell: (td) => {
          const show = badge(td);
          return (it) =>
            show(
              String(it.state ?? "").toLowerCase(),
              /fail|lost|cancel/i.test(it.state) ? "bad" : /run/i.test(it.state) ? "busy" : "none",
            );
        },
      },
      {
        label: "Progress",
        width: [230, 74],
        sort: (it) => it.progress ?? null,
        cell: (td) => {
          const draw = bar(td),
            text = el("span", { class: "muted clip" });
          td.append(" ", text);
          return (it) => {
            const known = typeof it.progress === "number";
            draw(known ? it.progress : null, known ? `${Math.round(it.progress * 100)} %` : "–");
            setText(text, it.text ?? "");
          };
        },
      },
      {
        label: "Node",
        width: [90],
        priority: 2,
        sort: (it) => it.node,
        text: (it) => it.node ?? "–",
      },
      {
        label: "Age",
        width: [92, 82],
        num: true,
        sort: (it) => since(it, it.age_seconds),
        text: (it) => span(since(it, it.age_seconds)),
      },
      {
        label: "Caller",
        width: [100],
        priority: 3,
        sort: (it) => it.identity,
        text: (it) => it.identity ?? "–",
      },
    ],
  });
}

// Calls that wait for the same thing are one entry: the reason is what matters.
function waitingList() {
  return new LiveList({
    id: "waiting",
    title: "Who waits for what",
    empty: "Nothing waits.",
    build: (li) => {
      const reason = el("p", { class: "reason" }),
        line = el("p", { class: "entry-line" });
      const name = functionButton(line),
        show = badge(line),
        callers = el("span", { class: "muted" });
      line.append(callers);
      li.append(line, reason);
      return (group) => {
        name(group);
        show(`${plural(group.rows.length, "call")}, up to ${span(group.longest)}`, "warn");
        setMarked(reason, group.for);
        const identities = new Map();
        for (const row of group.rows) {
          const identity = row.caller?.identity ?? "unknown";
          identities.set(identity, (identities.get(identity) ?? 0) + 1);
        }
        const names = [...identities].sort((a, b) => b[1] - a[1]);
        const shown = names
          .slice(0, 4)
          .map(([identity, n]) => (n > 1 ? `${identity} ×${n}` : identity));
        setText(
          callers,
          ` from ${shown.join(", ")}${names.length > 4 ? ` and ${names.length - 4} more` : ""}`,
        );
      };
    },
  });
}

const MOST_REASONS = 100;

function waitingGroups(model) {
  const groups = new Map();
  for (const row of model.waiting.values()) {
    const key = `${row.function}\n${row.for}`;
    if (!groups.has(key))
      groups.set(key, { function: row.function, for: row.for, rows: [], longest: 0 });
    const group = groups.get(key);
    group.rows.push(row);
    group.longest = Math.max(group.longest, since(row, row.waited_seconds));
  }
  return [...groups].sort((a, b) => b[1].longest - a[1].longest).slice(0, MOST_REASONS);
}

const EXECUTED = { No: "has not run", Maybe: "may have run", Yes: "has run" };

function errorsList() {
  return new LiveList({
    id: "errors",
    title: "Last errors",
    empty: "No call has failed.",
    build: (li) => {
      const line = el("p", { class: "entry-line" }),
        name = functionButton(line),
        kind = badge(line),
        ran = badge(line);
      const where = el("span", { class: "muted" }),
        at = el("time", { class: "muted at" }),
        message = el("p", { class: "reason" });
      line.append(where, at);
      li.append(line, message);
      return (it) => {
        name(it);
        kind(it.kind, "bad");
        ran(EXECUTED[it.executed] ?? "may have run", it.executed === "No" ? "none" : "warn");
        setText(
          where,
          `${it.node ? ` at ${it.node}` : ""}${it.identity ? ` for ${it.identity}` : ""}`,
        );
        setText(at, clock(it.at));
        setAttr(at, "datetime", new Date(it.at).toISOString());
        setMarked(message, it.message ?? "");
      };
    },
  });
}
