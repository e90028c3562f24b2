// A form made from a JSON Schema. Each field reads itself as JSON text, so that no number is rounded
// on its way, and what no field can say is written as JSON.
//
// A field is { node, read(wrong), write(value) }: `read` returns JSON text, or undefined for "left
// out", and adds the inputs that it cannot use to `wrong`.

const DEEPEST_FORM = 12;
let lastId = 0;
const freshId = () => `field-${(lastId += 1)}`;

function resolve(schema, definitions, depth = 0) {
  if (schema === true || schema === null || typeof schema !== "object") return {};
  const match = typeof schema.$ref === "string" && schema.$ref.match(/^#\/\$defs\/(.+)$/);
  if (!match || depth > 32 || !Object.hasOwn(definitions, match[1])) return schema;
  const target = resolve(definitions[match[1]], definitions, depth + 1);
  return schema.description ? { ...target, description: schema.description } : target;
}

const isNull = (schema) => schema.type === "null";

// The forms that a value may have; null if it has only one.
function variantsOf(schema, definitions) {
  let list = schema.oneOf ?? schema.anyOf;
  if (!list && Array.isArray(schema.type)) list = schema.type.map((type) => ({ ...schema, type }));
  if (!list || !Array.isArray(list)) return null;
  const { oneOf, anyOf, ...base } = schema;
  return list.flatMap((one) => {
    const it = resolve(one, definitions);
    if (it.enum && !it.properties) return it.enum.map((value) => ({ const: value }));
    if (!base.properties) return [it];
    const required = [...new Set([...(base.required ?? []), ...(it.required ?? [])])];
    const unknown = Object.fromEntries(required.map((name) => [name, {}]));
    return [
      {
        ...base,
        ...it,
        type: "object",
        required,
        properties: { ...unknown, ...base.properties, ...it.properties },
      },
    ];
  });
}

function nameOf(schema, i) {
  if ("const" in schema)
    return typeof schema.const === "string" ? schema.const : JSON.stringify(schema.const);
  const properties = Object.entries(schema.properties ?? {});
  const tag = properties.find(([, it]) => it && typeof it === "object" && "const" in it);
  if (tag) return String(tag[1].const);
  if (schema.required?.length === 1 && properties.length === 1) return schema.required[0];
  return (
    schema.title ??
    (isNull(schema) ? "null" : typeof schema.type === "string" ? schema.type : `form ${i + 1}`)
  );
}

// Whether a value looks like it has this form: enough to choose among several.
function fits(value, schema, definitions, depth = 0) {
  const it = resolve(schema, definitions);
  if (depth > DEEPEST_FORM) return true;
  if ("const" in it) return JSON.stringify(it.const) === JSON.stringify(value);
  if (it.enum) return it.enum.some((one) => JSON.stringify(one) === JSON.stringify(value));
  const variants = variantsOf(it, definitions);
  if (variants) return variants.some((one) => fits(value, one, definitions, depth + 1));
  const isObject =
    value !== null &&
    typeof value === "object" &&
    !Array.isArray(value) &&
    !JSON.isRawJSON?.(value);
  switch (it.type) {
    case "null":
      return value === null;
    case "boolean":
    case "string":
      return typeof value === it.type;
    case "number":
    case "integer":
      return typeof value === "number" || Boolean(JSON.isRawJSON?.(value));
    case "array":
      return Array.isArray(value) && (it.minItems ?? 0) <= value.length;
    case "object":
      return (
        isObject &&
        (it.required ?? []).every((name) => Object.hasOwn(value, name)) &&
        (it.additionalProperties !== false ||
          Object.keys(value).every((name) => Object.hasOwn(it.properties ?? {}, name))) &&
        Object.entries(it.properties ?? {}).every(
          ([name, one]) =>
            !Object.hasOwn(value, name) || fits(value[name], one, definitions, depth + 1),
        )
      );
    default:
      return true;
  }
}

function describe(parent, schema) {
  if (!schema.description) return null;
  const id = freshId();
  parent.append(el("p", { class: "hint", id }, schema.description.trim()));
  return id;
}

// A field of one input. `check(text)` returns JSON text, or throws what is wrong.
function inputField(label, kind, schema, input, check, show) {
  const id = freshId(),
    errorId = freshId();
  const node = el(
    "div",
    { class: "field" },
    el("label", { for: id }, label, el("span", { class: "type" }, kind)),
  );
  const hint = describe(node, schema);
  const error = el("p", { class: "error", id: errorId, hidden: true });
  setAttr(input, "id", id);
  setAttr(input, "aria-describedby", [hint, errorId].filter(Boolean).join(" "));
  node.append(input, error);
  const fail = (text) => {
    error.hidden = !text;
    setText(error, text ?? "");
    setAttr(input, "aria-invalid", text ? "true" : null);
  };
  input.addEventListener("input", () => fail(null));
  return {
    node,
    read(wrong) {
      try {
        const text = check(input.value);
        fail(null);
        return text;
      } catch (reason) {
        fail(reason.message);
        wrong.push(input);
        return "null";
      }
    },
    write(value) {
      show(value);
      fail(null);
    },
  };
}

function textArea(rows = 1) {
  return el("textarea", {
    rows,
    class: rows > 1 ? "mono" : null,
    spellcheck: "false",
    autocomplete: "off",
  });
}

function textField(label, schema) {
  const input = textArea();
  const check = (text) => {
    const n = [...text].length;
    if (schema.maxLength === 1 && schema.minLength === 1 && n !== 1)
      throw new Error("Type exactly one character.");
    return JSON.stringify(text);
  };
  const kind = schema.maxLength === 1 ? "one character" : "text";
  return inputField(label, kind, schema, input, check, (value) => {
    input.value = typeof value === "string" ? value : "";
  });
}

const digitsOf = (value) => (JSON.isRawJSON?.(value) ? value.rawJSON : String(value));

function integer(value) {
  if (value === undefined) return null;
  try {
    return BigInt(digitsOf(value));
  } catch {
    return null;
  }
}

function numberField(label, schema) {
  const isWhole = schema.type === "integer";
  const [least, most] = [integer(schema.minimum), integer(schema.maximum)];
  const input = el("input", {
    type: "text",
    inputmode: isWhole ? "numeric" : "decimal",
    autocomplete: "off",
    class: "number",
  });
  const check = (typed) => {
    const text = typed.trim();
    if (isWhole) {
      if (!/^-?\d+$/.test(text))
        throw new Error(text ? "Type a whole number." : "A whole number is needed.");
      const n = BigInt(text);
      if (least !== null && n < least) throw new Error(`The least is ${least}.`);
      if (most !== null && n > most) throw new Error(`The most is ${most}.`);
      return n.toString();
    }
    if (!/^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) || !Number.isFinite(Number(text))) {
      throw new Error(text ? "Type a number, such as 1.5." : "A number is needed.");
    }
    const [, sign, whole, rest] = text.match(/^(-?)(\d*)\.?(.*)$/);
    // As JSON writes it: digits on both sides of the point.
    return text.includes(".")
      ? `${sign}${BigInt(whole || "0")}.${/^\d/.test(rest) ? rest : `0${rest}`}`
      : `${sign}${text.slice(sign.length).replace(/^0+(?=\d)/, "")}`;
  };
  const kind = !isWhole
    ? "number"
    : least !== null && most !== null && most < 1000000n
      ? `${least} to ${most}`
      : least === 0n
        ? "whole, from 0"
        : "whole number";
  const isNumber = (value) => typeof value === "number" || JSON.isRawJSON?.(value);
  return inputField(label, kind, schema, input, check, (value) => {
    input.value = isNumber(value) ? digitsOf(value) : "";
  });
}

function jsonField(label, schema) {
  const input = textArea(3);
  const check = (text) => {
    try {
      JSON.parse(text);
      return text.trim();
    } catch (error) {
      throw new Error(
        text.trim()
          ? `This is not JSON: ${error.message}`
          : "A JSON value is needed, such as null.",
      );
    }
  };
  return inputField(label, "JSON", schema, input, check, (value) => {
    input.value = value === undefined ? "" : JSON.stringify(value, null, 2);
  });
}

function booleanField(label, schema) {
  const id = freshId(),
    input = el("input", { type: "checkbox", id });
  const node = el("div", { class: "field check" }, input, el("label", { for: id }, label));
  setAttr(input, "aria-describedby", describe(node, schema));
  return {
    node,
    read: () => String(input.checked),
    write: (value) => {
      input.checked = value === true;
    },
  };
}

function choiceField(label, schema) {
  const input = el(
    "select",
    {},
    ...schema.enum.map((value, i) =>
      el("option", { value: i }, typeof value === "string" ? value : JSON.stringify(value)),
    ),
  );
  const show = (value) => {
    const i = schema.enum.findIndex((one) => JSON.stringify(one) === JSON.stringify(value));
    input.value = String(Math.max(0, i));
  };
  return inputField(
    label,
    "one of",
    schema,
    input,
    (i) => JSON.stringify(schema.enum[Number(i)]),
    show,
  );
}

function fixedField(label, value) {
  const text = JSON.stringify(value);
  return {
    node: el("p", { class: "field fixed" }, `${label} `, el("code", {}, text)),
    read: () => text,
    write: () => {},
  };
}

// A value that may be missing: `none` is what is read without it.
function optionalField(label, schema, none, scope, build) {
  const id = freshId(),
    input = el("input", { type: "checkbox", id }),
    inside = el("div", { class: "inside" });
  const node = el(
    "div",
    { class: "optional" },
    el(
      "div",
      { class: "field check" },
      input,
      el("label", { for: id }, label, el("span", { class: "type" }, "optional")),
    ),
    inside,
  );
  setAttr(input, "aria-describedby", describe(node.firstChild, schema));
  let field = null;
  const show = () => {
    if (input.checked && !field) {
      field = build();
      inside.append(field.node);
    }
    inside.hidden = !input.checked;
  };
  input.addEventListener("change", show);
  show();
  return {
    node,
    read: (wrong) => (input.checked ? field.read(wrong) : none),
    write(value) {
      input.checked = value !== undefined && value !== null;
      show();
      if (input.checked) field.write(value);
    },
  };
}

function group(label, schema, ...children) {
  const node = el("fieldset", {}, el("legend", {}, label));
  describe(node, schema);
  node.append(...children);
  return node;
}

function variantField(label, schema, variants, scope) {
  const input = el(
    "select",
    { "aria-label": `Form of ${label}` },
    ...variants.map((it, i) => el("option", { value: i }, nameOf(it, i))),
  );
  const inside = el("div", { class: "inside" });
  const built = new Map();
  const current = () => {
    if (!built.has(input.value)) {
      const it = variants[Number(input.value)];
      // Its name is in the choice already.
      built.set(
        input.value,
        "const" in it
          ? { node: el("span"), read: () => JSON.stringify(it.const), write: () => {} }
          : fieldOf(nameOf(it, 0), it, scope),
      );
    }
    return built.get(input.value);
  };
  const show = () => inside.replaceChildren(current().node);
  input.addEventListener("change", show);
  show();
  return {
    node: group(label, schema, input, inside),
    read: (wrong) => current().read(wrong),
    write(value) {
      const i = variants.findIndex((it) => fits(value, it, scope.definitions));
      input.value = String(Math.max(0, i));
      show();
      current().write(value);
    },
  };
}

function objectField(label, schema, scope) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, one]) => {
    const it = resolve(one, scope.definitions);
    const build = () => fieldOf(name, one, scope);
    return [name, required.has(name) ? build() : optionalField(name, it, undefined, scope, build)];
  });
  const node =
    label === null
      ? el("div", {}, ...fields.map(([, it]) => it.node))
      : group(label, schema, ...fields.map(([, it]) => it.node));
  return {
    node,
    read(wrong) {
      const parts = fields
        .map(([name, field]) => [name, field.read(wrong)])
        .filter(([, text]) => text !== undefined);
      return `{${parts.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`;
    },
    write(value) {
      for (const [name, field] of fields)
        field.write(value && Object.hasOwn(value, name) ? value[name] : undefined);
    },
  };
}

// Any number of parts; `keyed` ones have a name each.
function listField(label, schema, part, scope, keyed) {
  const list = el("ol", { class: keyed ? "parts keyed" : "parts" });
  let entries = [];
  const add = (value, key = "") => {
    const name = `${label} ${entries.length + 1}`;
    const field = fieldOf(keyed ? "value" : name, part, scope);
    if (value !== undefined) field.write(value);
    const keyInput =
      keyed &&
      el("input", {
        type: "text",
        "aria-label": `Key ${entries.length + 1}`,
        placeholder: "key",
        autocomplete: "off",
      });
    if (keyed) keyInput.value = key;
    const remove = el(
      "button",
      { type: "button", class: "small", "aria-label": `Remove ${name}` },
      "Remove",
    );
    const li = el("li", {}, keyInput || null, field.node, remove);
    const entry = { field, keyInput, li };
    remove.addEventListener("click", () => {
      entries = entries.filter((it) => it !== entry);
      li.remove();
      more.focus();
    });
    entries.push(entry);
    list.append(li);
    return li;
  };
  const more = el(
    "button",
    { type: "button", class: "small", "aria-label": `Add to ${label}` },
    "Add",
  );
  more.addEventListener("click", () =>
    add(undefined).querySelector("input,textarea,select")?.focus(),
  );
  const clear = () => {
    entries = [];
    list.replaceChildren();
  };
  for (let i = 0; i < Math.min(schema.minItems ?? 0, 8); i += 1) add(undefined);
  return {
    node: group(label, schema, list, more),
    read(wrong) {
      const texts = entries.map(
        ({ field, keyInput }) =>
          (keyed ? `${JSON.stringify(keyInput.value)}:` : "") + (field.read(wrong) ?? "null"),
      );
      return keyed ? `{${texts.join(",")}}` : `[${texts.join(",")}]`;
    },
    write(value) {
      clear();
      if (keyed) for (const [key, one] of Object.entries(value ?? {})) add(one, key);
      else for (const one of Array.isArray(value) ? value : []) add(one);
    },
  };
}

function tupleField(label, schema, scope) {
  const fields = schema.prefixItems.map((one, i) => fieldOf(`${label} ${i + 1}`, one, scope));
  return {
    node: group(label, schema, ...fields.map((it) => it.node)),
    read: (wrong) => `[${fields.map((it) => it.read(wrong) ?? "null").join(",")}]`,
    write(value) {
      fields.forEach((it, i) => it.write(Array.isArray(value) ? value[i] : undefined));
    },
  };
}

function fieldOf(label, schema, outer) {
  const scope = { ...outer, depth: outer.depth + 1 };
  const it = resolve(schema, scope.definitions);
  if (scope.depth > DEEPEST_FORM) return jsonField(label, it);
  if ("const" in it) return fixedField(label, it.const);
  if (Array.isArray(it.enum) && it.enum.length) return choiceField(label, it);
  const variants = variantsOf(it, scope.definitions);
  if (variants) {
    const others = variants.filter((one) => !isNull(one));
    if (others.length === 1 && variants.length > 1) {
      return optionalField(label, it, "null", scope, () =>
        fieldOf(label, { ...others[0], description: undefined }, scope),
      );
    }
    return variants.length ? variantField(label, it, variants, scope) : jsonField(label, it);
  }
  switch (it.type) {
    case "null":
      return fixedField(label, null);
    case "boolean":
      return booleanField(label, it);
    case "string":
      return textField(label, it);
    case "integer":
    case "number":
      return numberField(label, it);
    case "array":
      if (it.prefixItems) return tupleField(label, it, scope);
      return it.items ? listField(label, it, it.items, scope, false) : jsonField(label, it);
    case "object":
      if (it.properties) return objectField(label, it, scope);
      if (it.additionalProperties && typeof it.additionalProperties === "object")
        return listField(label, it, it.additionalProperties, scope, true);
      return jsonField(label, it);
    default:
      return jsonField(label, it);
  }
}

// The form of all arguments, by name. Without a schema there is none, only JSON.
function argumentsForm(schema, parameters) {
  if (!schema || typeof schema.properties !== "object") return null;
  const ordered = {};
  for (const name of parameters)
    if (Object.hasOwn(schema.properties, name)) ordered[name] = schema.properties[name];
  const scope = { definitions: schema.$defs ?? {}, depth: 0 };
  return objectField(null, { ...schema, properties: { ...ordered, ...schema.properties } }, scope);
}
