// A live chart of the numbers in a stream's items: one strip for each field, because they share no
// scale. The last items are kept, and no more.

const CHART_KEPT = 4096,
  MOST_FIELDS = 48,
  SHOWN_AT_FIRST = 4,
  CHART_W = 600,
  CHART_H = 56;

// Finds the numbers in an item, by their path.
function numbersOf(item, found = new Map(), path = "", depth = 0) {
  if (found.size >= MOST_FIELDS) return found;
  if (typeof item === "number") found.set(path || "value", item);
  else if (typeof item === "boolean" && path) found.set(path, Number(item));
  else if (item !== null && typeof item === "object" && depth < 5) {
    const parts = Array.isArray(item)
      ? item.slice(0, 16).map((one, i) => [`[${i}]`, one])
      : Object.entries(item).map(([name, one]) => [path ? `.${name}` : name, one]);
    for (const [name, one] of parts) numbersOf(one, found, path + name, depth + 1);
  }
  return found;
}

class Chart {
  constructor() {
    this.fields = new Map();
    this.n = 0;
    this.window = 300;
    this.isPaused = false;
    this.strips = el("div", { class: "strips" });
    this.choices = el("fieldset", { class: "choices" }, el("legend", {}, "Fields"));
    this.hold = el(
      "button",
      { type: "button", class: "small", "aria-pressed": "false", onclick: () => this.pause() },
      "Pause chart",
    );
    const id = freshId();
    const length = el(
      "select",
      {
        id,
        onchange: (event) => {
          this.window = Number(event.target.value);
          this.draw(true);
        },
      },
      ...[100, 300, 1000, 4000].map((n) => el("option", { value: n }, `${n} items`)),
    );
    length.value = "300";
    this.node = el(
      "section",
      { class: "chart", "aria-label": "Chart", hidden: true },
      el("div", { class: "chart-bar" }, el("label", { for: id }, "Last"), length, this.hold),
      this.choices,
      this.strips,
    );
  }

  pause() {
    this.isPaused = !this.isPaused;
    setAttr(this.hold, "aria-pressed", String(this.isPaused));
    setText(this.hold, this.isPaused ? "Resume chart" : "Pause chart");
    this.end = this.n;
    this.draw(true);
  }

  add(item) {
    const numbers = numbersOf(item);
    for (const name of numbers.keys())
      if (!this.fields.has(name) && this.fields.size < MOST_FIELDS) this.addField(name);
    const at = this.n % CHART_KEPT;
    for (const [name, field] of this.fields)
      field.values[at] = numbers.has(name) ? numbers.get(name) : NaN;
    this.n += 1;
  }

  addField(name) {
    const id = freshId(),
      isShown = this.fields.size < SHOWN_AT_FIRST;
    const line = svg("path", { class: "chart-line" }),
      area = svg("path", { class: "chart-area" });
    const plot = svg("svg", {
      class: "plot",
      viewBox: `0 0 ${CHART_W} ${CHART_H}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Plot of ${name}`,
    });
    plot.append(area, line);
    const now = el("output", { class: "now" }),
      top = el("span", { class: "top" }),
      bottom = el("span", { class: "bottom" });
    const strip = el(
      "figure",
      { class: "strip", "data-hue": this.fields.size % 6 },
      el("figcaption", {}, el("span", { class: "mono clip" }, name), now),
      el(
        "div",
        { class: "plot-box" },
        plot,
        el("div", { class: "scale muted", "aria-hidden": "true" }, top, bottom),
      ),
    );
    // The figures change all the time, and are there when they are asked for.
    setAttr(now, "aria-live", "off");
    const box = el("input", { type: "checkbox", id });
    box.checked = isShown;
    strip.hidden = !isShown;
    box.addEventListener("change", () => {
      strip.hidden = !box.checked;
      this.draw(true);
    });
    this.choices.append(
      el("span", { class: "choice" }, box, el("label", { for: id, class: "mono" }, name)),
    );
    this.strips.append(strip);
    const values = new Float64Array(CHART_KEPT).fill(NaN);
    this.fields.set(name, { values, strip, line, area, plot, now, top, bottom });
    this.node.hidden = false;
  }

  draw(force) {
    if (this.isPaused && !force) return;
    if (!this.isPaused) this.end = this.n;
    for (const [name, field] of this.fields) if (!field.strip.hidden) this.drawField(name, field);
  }

  drawField(name, { values, line, area, plot, now, top, bottom }) {
    const length = Math.min(this.window, this.end, CHART_KEPT);
    const at = (i) => values[(this.end - length + i) % CHART_KEPT];
    let least = Infinity,
      most = -Infinity,
      last = NaN;
    for (let i = 0; i < length; i += 1) {
      const value = at(i);
      if (!Number.isFinite(value)) continue;
      least = Math.min(least, value);
      most = Math.max(most, value);
      last = value;
    }
    if (least > most) return;
    const range = most - least || 1,
      middle = most === least ? 0.5 : 0;
    const y = (value) =>
      (CHART_H - 2 - ((value - least) / range + middle) * (CHART_H - 4)).toFixed(1);
    // Of many items in one column of pixels the extremes are drawn: no peak is lost.
    const columns = Math.min(length, CHART_W / 2),
      points = [];
    const step = (CHART_W * length) / columns / (this.window - 1);
    for (let column = 0; column < columns; column += 1) {
      const from = Math.floor((column * length) / columns),
        to = Math.max(from + 1, Math.floor(((column + 1) * length) / columns));
      let low = Infinity,
        high = -Infinity;
      for (let i = from; i < to; i += 1) {
        const value = at(i);
        if (Number.isFinite(value)) {
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
      const x = (CHART_W - (columns - 1 - column) * step).toFixed(1);
      if (low > high) points.push(null);
      else if (low === high) points.push([x, y(low)]);
      else points.push([x, y(low)], [x, y(high)]);
    }
    let path = "",
      isOpen = false;
    for (const point of points) {
      if (point) path += `${isOpen ? "L" : "M"}${point[0]} ${point[1]}`;
      isOpen = Boolean(point);
    }
    setAttr(line, "d", path);
    const known = points.filter(Boolean);
    setAttr(
      area,
      "d",
      known.length > 1 && known.length === points.length
        ? `${path}L${known.at(-1)[0]} ${CHART_H}L${known[0][0]} ${CHART_H}Z`
        : "M0 0",
    );
    setText(now, figure(last));
    setText(top, figure(most));
    setText(bottom, figure(least));
    setAttr(
      plot,
      "aria-label",
      `Plot of ${name}: last ${figure(last)}, least ${figure(least)}, most ${figure(most)}`,
    );
  }
}
