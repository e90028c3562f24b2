// Tables of any length: only the rows in sight are elements, each keeps its element while it lives,
// and the one with the focus stays where it is.

const SVG_W = 60,
  SVG_H = 18;

// A small plot of a history. Returns a function that draws it.
function spark(parent, title) {
  const path = svg("path", { class: "spark-line" });
  const plot = svg("svg", {
    class: "spark",
    viewBox: `0 0 ${SVG_W} ${SVG_H}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  plot.append(path);
  if (title) parent.append(el("span", { class: "hidden" }, title));
  parent.append(plot);
  return (history) => {
    const values = history ?? [];
    const top = Math.max(...values, 1e-9);
    const step = SVG_W / (Rate.KEPT - 1);
    const from = SVG_W - (values.length - 1) * step;
    const points = values.map(
      (value, i) =>
        `${(from + i * step).toFixed(1)} ${(SVG_H - 1 - (value / top) * (SVG_H - 2)).toFixed(1)}`,
    );
    setAttr(path, "d", points.length > 1 ? `M${points.join("L")}` : "M0 0");
  };
}

// A column: `cell(td)` builds a cell and returns the function that updates it; `text(row)` is for
// cells of one text; `sort(row)` is what the column is sorted by; `width` is that in a wide and in a
// narrow table; `priority` 3 and 2 are left out as the table gets narrower.
class LiveTable {
  constructor({ id, title, columns, rowHeight = 34, sort, filter, empty, key }) {
    Object.assign(this, { id, columns, rowHeight, key, empty, filterText: filter, query: "" });
    this.sort = sort;
    this.rows = [];
    this.shown = new Map();
    this.count = el("span", { class: "count" });
    this.head = el("tr", {}, ...columns.map((column, i) => this.heading(column, i)));
    this.body = el("tbody");
    this.table = el(
      "table",
      { "aria-labelledby": `${id}-title` },
      el("thead", {}, this.head),
      this.body,
    );
    this.none = el("p", { class: "none" }, empty);
    this.scroller = el(
      "div",
      { class: "scroller", tabindex: "0", role: "group", "aria-labelledby": `${id}-title` },
      this.table,
    );
    this.rest = el("p", { class: "hint rest", hidden: true });
    // One cell is enough; one that spans columns would count those that are left out.
    this.top = el("tr", { class: "space", "aria-hidden": "true" }, el("td"));
    this.bottom = el("tr", { class: "space", "aria-hidden": "true" }, el("td"));
    this.search =
      filter &&
      el("input", {
        type: "search",
        class: "filter",
        placeholder: "Filter",
        "aria-label": `Filter ${title.toLowerCase()}`,
        oninput: (event) => {
          this.query = event.target.value.trim().toLowerCase();
          this.arrange(true);
          this.scroller.scrollTop = 0;
          this.draw();
        },
      });
    this.section = el(
      "section",
      { class: "card", id, "aria-labelledby": `${id}-title` },
      el(
        "div",
        { class: "card-head" },
        el("h2", { id: `${id}-title`, tabindex: "-1" }, title),
        this.count,
        this.search || null,
      ),
      this.scroller,
      this.none,
      this.rest,
    );
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    this.markSort();
  }

  heading(column, i) {
    const name = el("span", {}, column.label);
    const content = column.sort
      ? el(
          "button",
          { type: "button", class: "sort", onclick: () => this.sortBy(i) },
          name,
          el("span", { class: "arrow", "aria-hidden": "true" }),
        )
      : name;
    const th = el("th", { scope: "col", class: this.classOf(column) }, content);
    const [wide, narrow] = column.width ?? [];
    if (wide) th.style.setProperty("--wide", `${wide}px`);
    if (narrow) th.style.setProperty("--narrow", `${narrow}px`);
    return th;
  }

  classOf(column) {
    return [column.num && "num", column.priority && `p${column.priority}`]
      .filter(Boolean)
      .join(" ");
  }

  sortBy(i) {
    const first = this.columns[i].num ? -1 : 1;
    this.sort =
      this.sort.column === i ? { column: i, way: -this.sort.way } : { column: i, way: first };
    this.markSort();
    this.arrange(true);
    this.draw();
  }

  markSort() {
    [...this.head.children].forEach((th, i) => {
      const way = this.sort.column === i ? this.sort.way : 0;
      setAttr(th, "aria-sort", way ? (way > 0 ? "ascending" : "descending") : null);
    });
  }

  // `map` has the rows by key; `more` says how many others the gateway has not sent.
  update(map, more = 0) {
    this.map = map;
    this.arrange(false);
    setText(this.count, map.size || more ? count(map.size + more) : "");
    this.rest.hidden = !more;
    if (more)
      setText(
        this.rest,
        `and ${plural(more, "other", "others")}, which the gateway counts and does not list`,
      );
    this.draw();
  }

  // While a table is used, its rows keep their order: nothing moves under a pointer or the focus.
  isHeld() {
    return this.body.contains(document.activeElement) || this.scroller.matches(":hover");
  }

  arrange(now) {
    if (!this.map) return;
    const wanted = this.query
      ? [...this.map.values()].filter((row) =>
          this.filterText(row).toLowerCase().includes(this.query),
        )
      : [...this.map.values()];
    const by = this.columns[this.sort.column].sort;
    const keyed = wanted.map((row) => [by(row), row]);
    const compare = (a, b) => {
      const [isKnown, otherIsKnown] = [a, b].map(
        (it) => it !== null && it !== undefined && !Number.isNaN(it),
      );
      if (!isKnown || !otherIsKnown) return otherIsKnown - isKnown;
      if (a === b) return 0;
      return (typeof a === "string" ? collator.compare(a, b) : a - b) * this.sort.way;
    };
    if (!now && this.isHeld()) {
      const places = new Map(this.rows.map((row, i) => [this.key(row), i]));
      const at = (row) => places.get(this.key(row)) ?? Infinity;
      keyed.sort((a, b) => {
        const [x, y] = [at(a[1]), at(b[1])];
        return x === y ? 0 : x - y;
      });
    } else {
      keyed.sort((a, b) => compare(a[0], b[0]) || collator.compare(this.key(a[1]), this.key(b[1])));
    }
    this.rows = keyed.map(([, row]) => row);
  }

  draw() {
    if (!this.map) return;
    const n = this.rows.length;
    this.scroller.hidden = n === 0;
    this.none.hidden = n > 0;
    setText(this.none, this.query && this.map.size ? "Nothing matches the filter." : this.empty);
    const height = this.scroller.clientHeight || 400;
    const first = Math.max(
      0,
      Math.min(Math.floor(this.scroller.scrollTop / this.rowHeight) - 8, n - 1),
    );
    const last = Math.min(n, Math.ceil((this.scroller.scrollTop + height) / this.rowHeight) + 8);
    const indices = [];
    for (let i = first; i < last; i += 1) indices.push(i);
    let above = first,
      below = n - last;
    const held = this.focusedIndex();
    if (held !== -1 && held < first) {
      indices.unshift(held);
      above -= 1;
    }
    if (held >= last) {
      indices.push(held);
      below -= 1;
    }
    const keys = new Set();
    const wanted = indices.map((i) => this.rowAt(i, keys));
    const focusIsHere = this.body.contains(document.activeElement);
    for (const [key, shown] of this.shown) {
      if (!keys.has(key)) {
        shown.tr.remove();
        this.shown.delete(key);
      }
    }
    this.top.firstChild.style.height = `${above * this.rowHeight}px`;
    this.bottom.firstChild.style.height = `${below * this.rowHeight}px`;
    place(this.body, [...(above ? [this.top] : []), ...wanted, ...(below ? [this.bottom] : [])]);
    // The row with the focus is gone: the next place is the table.
    if (focusIsHere && !this.body.contains(document.activeElement))
      this.scroller.focus({ preventScroll: true });
    setAttr(this.table, "aria-rowcount", n + 1);
  }

  focusedIndex() {
    const tr = this.body.contains(document.activeElement) && document.activeElement.closest("tr");
    if (!tr) return -1;
    return this.rows.findIndex((row) => this.key(row) === tr.rowKey);
  }

  rowAt(i, keys) {
    const row = this.rows[i],
      key = this.key(row);
    keys.add(key);
    let shown = this.shown.get(key);
    if (!shown) {
      const tr = el("tr");
      tr.rowKey = key;
      const updates = this.columns.map((column, j) => {
        const cell = el(j === 0 ? "th" : "td", {
          class: this.classOf(column),
          scope: j === 0 ? "row" : null,
        });
        tr.append(cell);
        return column.cell ? column.cell(cell) : (it) => setText(cell, column.text(it));
      });
      shown = { tr, updates };
      this.shown.set(key, shown);
    }
    setAttr(shown.tr, "aria-rowindex", i + 2);
    for (const update of shown.updates) update(row);
    return shown.tr;
  }
}

// A list whose entries may have any height, for what is to be read: reasons and messages.
class LiveList {
  constructor({ id, title, empty, build }) {
    this.build = build;
    this.shown = new Map();
    this.count = el("span", { class: "count" });
    this.list = el("ul", { class: "entries" });
    this.scroller = el(
      "div",
      { class: "scroller", tabindex: "0", role: "group", "aria-labelledby": `${id}-title` },
      this.list,
    );
    this.none = el("p", { class: "none" }, empty);
    this.section = el(
      "section",
      { class: "card", id, "aria-labelledby": `${id}-title` },
      el(
        "div",
        { class: "card-head" },
        el("h2", { id: `${id}-title`, tabindex: "-1" }, title),
        this.count,
      ),
      this.scroller,
      this.none,
    );
  }

  // `entries` are pairs of a key and what the entry shows.
  update(entries, label) {
    setText(this.count, label);
    this.scroller.hidden = entries.length === 0;
    this.none.hidden = entries.length > 0;
    const keys = new Set(entries.map(([key]) => key));
    const focusIsHere = this.list.contains(document.activeElement);
    for (const [key, shown] of this.shown)
      if (!keys.has(key)) {
        shown.li.remove();
        this.shown.delete(key);
      }
    const wanted = entries.map(([key, entry]) => {
      if (!this.shown.has(key)) {
        const li = el("li");
        this.shown.set(key, { li, update: this.build(li) });
      }
      const shown = this.shown.get(key);
      shown.update(entry);
      return shown.li;
    });
    place(this.list, wanted);
    if (focusIsHere && !this.list.contains(document.activeElement))
      this.scroller.focus({ preventScroll: true });
  }
}
