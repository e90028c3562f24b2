// The panel of one function: what it is, a form for its arguments, and what came of trying it.

// Paragraphs and `code`, which doc comments have most.
function docView(doc) {
  const paragraphs = doc
    .trim()
    .split(/\n\s*\n/)
    .filter(Boolean);
  return el(
    "div",
    { class: "doc" },
    ...paragraphs.map((text) => {
      const paragraph = el("p");
      setMarked(paragraph, text);
      return paragraph;
    }),
  );
}

class Panel {
  constructor(root, closed) {
    this.root = root;
    this.closed = closed;
    this.name = null;
  }

  close() {
    if (this.name === null) return;
    this.run?.stop();
    this.run = null;
    this.name = null;
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  open(name, info) {
    // What has the focus elsewhere keeps it when a function is offered again.
    const isSame = this.name === name,
      focusIsElsewhere =
        isSame &&
        !this.root.contains(document.activeElement) &&
        document.activeElement !== document.body;
    this.close();
    this.name = name;
    this.info = info;
    this.nodes = null;
    this.root.hidden = false;
    this.title = el("h2", { id: "panel-title", class: "mono", tabindex: "-1" }, name);
    const head = el(
      "div",
      { class: "panel-head" },
      this.title,
      el("button", { type: "button", class: "small", onclick: () => this.closed() }, "Close"),
    );
    this.offered = el("p", { class: "muted" });
    this.root.append(head, this.offered);
    if (!info) {
      this.root.append(
        el(
          "p",
          { class: "note" },
          "No node offers this function now, or this bearer may not call it.",
        ),
      );
    } else {
      if (info.doc) this.root.append(docView(info.doc));
      this.root.append(el("p", { class: "signature mono" }, info.signature));
      if (info.kind === "operator")
        this.root.append(
          el(
            "p",
            { class: "note" },
            "An operator is not called: it acts on the items of a stream, with the option through.",
          ),
        );
      else this.root.append(this.form(info));
    }
    this.update(info);
    if (!focusIsElsewhere) this.title.focus();
  }

  // New facts about the function: its form stays as it was filled in.
  update(info) {
    if (!this.name) return;
    if (!this.info && info) return this.open(this.name, info);
    if (!info) return setText(this.offered, this.info ? "No node offers it now." : "");
    const needs = info.needs?.length ? `, needs ${info.needs.join(", ")}` : "";
    setText(
      this.offered,
      `${KIND[info.kind] ?? info.kind} · offered by ${plural(info.nodes.length, "node")}${needs}`,
    );
    if (
      !this.nodes ||
      (this.root.contains(document.activeElement) && document.activeElement === this.nodes)
    )
      return;
    const wanted = ["", ...info.nodes.slice(0, 1000)];
    if (wanted.join("\n") === [...this.nodes.options].map((it) => it.value).join("\n")) return;
    const chosen = this.nodes.value;
    this.nodes.replaceChildren(...wanted.map((id) => el("option", { value: id }, id || "any")));
    if (wanted.includes(chosen)) this.nodes.value = chosen;
  }

  form(info) {
    this.isStream = info.kind === "stream" || info.kind === "duplex";
    this.takesStream = info.kind === "upload" || info.kind === "duplex";
    this.arguments = argumentsForm(info.schemas?.arguments, info.parameters);
    this.mode = this.arguments ? "form" : "json";
    this.json = textArea(6);
    setAttr(this.json, "id", "panel-json");
    setAttr(this.json, "aria-describedby", "panel-json-error");
    this.jsonError = el("p", { class: "error", id: "panel-json-error", hidden: true });
    this.json.value = info.parameters.length ? "" : "{}";
    this.json.addEventListener("input", () => this.complain(null));
    this.byForm = el(
      "div",
      {},
      this.arguments?.node ?? null,
      info.parameters.length ? null : el("p", { class: "muted" }, "It takes no arguments."),
    );
    this.byJson = el(
      "div",
      { class: "field" },
      el(
        "label",
        { for: "panel-json" },
        "Arguments as JSON",
        el("span", { class: "type" }, "object or array"),
      ),
      this.json,
      this.jsonError,
    );
    const mode = (name, text) =>
      el(
        "button",
        {
          type: "button",
          "data-mode": name,
          "aria-pressed": "false",
          onclick: () => this.switchTo(name),
        },
        text,
      );
    this.modes = el(
      "div",
      { class: "modes", role: "group", "aria-label": "How to write the arguments" },
      mode("form", "Form"),
      mode("json", "JSON"),
    );
    this.modes.hidden = !this.arguments;
    this.start = el(
      "button",
      { type: "submit", class: "primary" },
      this.isStream ? "Open stream" : "Call",
    );
    this.cancel = el(
      "button",
      { type: "button", onclick: () => this.run?.stop(), hidden: true },
      this.isStream ? "Stop" : "Cancel",
    );
    this.place = el("div", { class: "results" });
    const form = el(
      "form",
      { class: "try", novalidate: true },
      el("div", { class: "try-head" }, el("h3", {}, "Arguments"), this.modes),
      this.byForm,
      this.byJson,
      this.takesStream ? this.itemsField() : null,
      this.options(),
      el("div", { class: "actions" }, this.start, this.cancel),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.go();
    });
    this.show();
    return el("div", {}, form, this.place);
  }

  itemsField() {
    this.items = textArea(4);
    setAttr(this.items, "id", "panel-items");
    setAttr(this.items, "aria-describedby", "panel-items-hint panel-items-error");
    this.itemsError = el("p", { class: "error", id: "panel-items-error", hidden: true });
    return el(
      "div",
      { class: "field" },
      el(
        "label",
        { for: "panel-items" },
        "Items that the caller sends",
        el("span", { class: "type" }, "JSON lines"),
      ),
      this.items,
      el(
        "p",
        { class: "hint", id: "panel-items-hint" },
        "One JSON value a line; all are sent, then the client stream ends. For one that stays open, use a program.",
      ),
      this.itemsError,
    );
  }

  options() {
    this.timeout = el("input", {
      type: "text",
      id: "panel-timeout",
      placeholder: "none",
      autocomplete: "off",
      pattern: "\\d+(\\.\\d+)?(ms|s)?",
    });
    this.nodes = el("select", { id: "panel-node" }, el("option", { value: "" }, "any"));
    this.latest = this.isStream ? el("input", { type: "checkbox", id: "panel-latest" }) : null;
    return el(
      "details",
      { class: "options" },
      el("summary", {}, "Options"),
      el(
        "div",
        { class: "field" },
        el(
          "label",
          { for: "panel-timeout" },
          "Timeout",
          el("span", { class: "type" }, "5s, 500ms"),
        ),
        this.timeout,
      ),
      el("div", { class: "field" }, el("label", { for: "panel-node" }, "Node"), this.nodes),
      this.latest
        ? el(
            "div",
            { class: "field check" },
            this.latest,
            el(
              "label",
              { for: "panel-latest" },
              "Newest items only, if they come faster than they can be shown",
            ),
          )
        : null,
    );
  }

  complain(text, input = this.json, place = this.jsonError) {
    place.hidden = !text;
    setText(place, text ?? "");
    setAttr(input, "aria-invalid", text ? "true" : null);
  }

  show() {
    this.byForm.hidden = this.mode !== "form";
    this.byJson.hidden = this.mode !== "json";
    for (const button of this.modes.children)
      setAttr(button, "aria-pressed", String(button.dataset.mode === this.mode));
  }

  switchTo(mode) {
    if (mode === this.mode) return;
    if (mode === "json") {
      this.json.value = pretty(this.arguments.read([]));
      this.complain(null);
    } else {
      const text = this.readJson();
      if (text === null) return;
      let value = parseExact(text);
      if (Array.isArray(value))
        value = Object.fromEntries(this.info.parameters.map((name, i) => [name, value[i]]));
      this.arguments.write(value);
    }
    this.mode = mode;
    this.show();
  }

  readJson() {
    const text = this.json.value.trim() || (this.info.parameters.length ? "" : "{}");
    try {
      const value = JSON.parse(text);
      if (value === null || typeof value !== "object")
        throw new Error("an object by name or an array by position is needed");
      this.complain(null);
      return text;
    } catch (error) {
      this.complain(
        text
          ? `This is not what is needed: ${error.message}`
          : "JSON is needed: an object by name, or an array by position.",
      );
      this.json.focus();
      return null;
    }
  }

  readArguments() {
    if (this.mode === "json") return this.readJson();
    const wrong = [];
    const text = this.arguments.read(wrong);
    if (!wrong.length) return text;
    wrong[0].focus();
    say(`${plural(wrong.length, "field needs", "fields need")} another value`);
    return null;
  }

  // The arguments and items as the body of a request, or null if something is wrong.
  body() {
    const text = this.readArguments();
    if (text === null || !this.takesStream) return text;
    const lines = this.items.value.split("\n").filter((line) => line.trim());
    for (const [i, line] of lines.entries()) {
      try {
        JSON.parse(line);
      } catch (error) {
        this.complain(`Line ${i + 1} is not JSON: ${error.message}`, this.items, this.itemsError);
        this.items.focus();
        return null;
      }
    }
    this.complain(null, this.items, this.itemsError);
    // The arguments are one line too: a line break is never needed in JSON.
    return [text.replace(/\s*\n\s*/g, " "), ...lines].map((line) => `${line}\n`).join("");
  }

  go() {
    if (this.run) return;
    const body = this.body();
    if (body === null) return;
    const headers = {
      "Content-Type": this.takesStream ? "application/x-ndjson" : "application/json",
    };
    if (this.timeout.value.trim()) headers["Easyremote-Timeout"] = this.timeout.value.trim();
    if (this.nodes.value) headers["Easyremote-Node"] = this.nodes.value;
    const path = `/${this.isStream ? "stream" : "call"}/${encodeURIComponent(this.name)}${this.latest?.checked ? "?latest" : ""}`;
    const run = new Run({
      path,
      headers,
      body,
      isStream: this.isStream,
      ended: () => this.ended(run),
    });
    this.run = run;
    this.place.replaceChildren(run.node);
    this.cancel.hidden = false;
    setAttr(this.start, "aria-disabled", "true");
    setText(this.start, this.isStream ? "Open" : "Calling …");
    run.start();
  }

  ended(run) {
    if (this.run !== run) return;
    this.run = null;
    if (document.activeElement === this.cancel) this.start.focus();
    this.cancel.hidden = true;
    setAttr(this.start, "aria-disabled", null);
    setText(this.start, this.isStream ? "Open stream" : "Call");
  }
}
