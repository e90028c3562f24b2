// Brings it together: the bearer, the feed, the sections and the panel.

const fromAddress = takeBearer();
const model = new Model();
const listed = new Map();
const parts = {
  functions: functionsTable(model),
  nodes: nodesTable(),
  streams: streamsTable(model),
  calls: callsTable(),
  jobs: jobsTable(),
  waiting: waitingList(),
  errors: errorsList(),
};
$("left").append(parts.waiting.section, parts.functions.section, parts.nodes.section);
$("right").append(
  parts.streams.section,
  parts.calls.section,
  parts.jobs.section,
  parts.errors.section,
);
const LIVE = ["nodes", "streams", "calls", "jobs", "waiting", "errors"];
const showTiles = tilesOf(model);
const feed = new Feed(heard, linked);

// A change of what is chosen goes through the address, so that "back" works.
function go(kind, name) {
  // Not a button of the panel, which goes away.
  if (!$("panel").contains(document.activeElement)) returnTo = document.activeElement;
  history.pushState(null, "", `#${kind}=${encodeURIComponent(name)}`);
  follow();
}
let returnTo = null;

function goBack() {
  history.pushState(null, "", location.pathname);
  follow();
}

const panel = new Panel($("panel"), goBack),
  nodePanel = new NodePanel($("panel"), goBack);
$("panel").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented) goBack();
});

function follow() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  const [name, id] = $("app").hidden ? [null, null] : [chosen.get("function"), chosen.get("node")];
  const wasOpen = panel.name !== null || nodePanel.name !== null;
  if (panel.name !== null && panel.name !== name) panel.close();
  if (nodePanel.name !== null && nodePanel.name !== id) nodePanel.close();
  if (name !== null && panel.name === null) panel.open(name, listed.get(name));
  else if (name === null && id !== null && nodePanel.name === null)
    nodePanel.open(id, model.nodes.get(id));
  const isOpen = panel.name !== null || nodePanel.name !== null;
  // Before the focus moves: in a narrow window only one of both is there.
  setAttr(document.documentElement, "data-panel", isOpen ? "open" : null);
  if (wasOpen && !isOpen) {
    if (returnTo?.isConnected) returnTo.focus();
    else $("verdict").focus();
  }
}

function visit(id) {
  const heading = $(`${id}-title`);
  heading.scrollIntoView({
    block: "start",
    behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
  });
  heading.focus({ preventScroll: true });
}

// Functions with their schemas: asked for when the feed shows that there are others.
let asking = false,
  askAgain = false,
  askedFor = "";
async function askFunctions() {
  askAgain = asking;
  if (asking) return;
  asking = true;
  try {
    const response = await request("/functions");
    if (response.status === 401) return refused((await problemOf(response)).detail);
    if (!response.ok) return;
    listed.clear();
    for (const it of parseExact(await response.text())) listed.set(it.name, it);
    if (panel.name !== null) panel.update(listed.get(panel.name));
    soonDraw();
  } catch {
    // The feed tells that there is no connection, and asks for this again afterwards.
    askedFor = "";
  } finally {
    asking = false;
    if (askAgain) askFunctions();
  }
}

function noteFunctions() {
  const offered = [...model.functions.values()]
    .map((it) => `${it.function} ${it.nodes}`)
    .join("\n");
  if (offered === askedFor) return;
  askedFor = offered;
  askFunctions();
}

// What the feed counts, and what is offered without it: of that nothing is counted here.
function functionRows() {
  const rows = new Map(model.functions);
  for (const it of listed.values()) {
    const row = rows.get(it.name);
    if (!row)
      rows.set(it.name, {
        function: it.name,
        kind: it.kind,
        nodes: it.nodes.length,
        in_flight: NaN,
        waiting: NaN,
        returned: NaN,
        faults: NaN,
        errors: {},
        items: NaN,
        at: performance.now(),
      });
    else row.kind ??= it.kind;
  }
  return rows;
}

let drawing = null;
function soonDraw() {
  drawing ??= setTimeout(() => {
    drawing = null;
    draw();
  }, 50);
}

let saidLevel = "";
function draw() {
  if ($("app").hidden) return;
  parts.functions.update(functionRows());
  if (feed.state.name === "forbidden" || !model.gateway) return;
  for (const name of ["nodes", "streams", "calls", "jobs"])
    parts[name].update(model[name], model.more[name]);
  showSections(true);
  const groups = waitingGroups(model),
    n = model.waiting.size + (model.more.waiting ?? 0);
  parts.waiting.update(groups, n ? count(n) : "");
  nodePanel.update(model.nodes.get(nodePanel.name));
  parts.errors.update(
    model.errors.map((it) => [it.n, it]).reverse(),
    model.errors.length ? count(model.errors.length) : "",
  );
  const facts = factsOf(model);
  showTiles(facts);
  if (feed.state.name === "live") showVerdict(verdictOf(model, facts));
  setText(
    $("about"),
    `version ${model.gateway.version} · up ${span(model.gateway.uptime_seconds)}`,
  );
  if (feed.state.name === "live")
    setLink(
      model.gateway.draining ? "warn" : "good",
      model.gateway.draining ? "Draining" : "Serving",
    );
}

function showVerdict({ level, text }) {
  setText($("verdict"), text);
  setAttr($("verdict"), "data-level", level);
  const { stats } = model.gateway;
  setText(
    $("verdict-more"),
    `${plural(stats.nodes, "node")}, ${plural(model.functions.size, "function")} and ${plural(stats.clients, "client")} connected`,
  );
  if (level !== saidLevel) {
    if (saidLevel) say(text);
    saidLevel = level;
  }
}

function setLink(level, text) {
  setAttr($("link"), "data-level", level);
  setText($("link-text"), text);
}

function heard(event, data) {
  if (event === "begin") return model.begin();
  model.apply(event, data);
  if (event === "functions") noteFunctions();
  soonDraw();
}

// What the page says of its connection. Figures that are not live are marked, and dated.
function linked({ name, why, since: at }) {
  const isLive = name === "live";
  // Times go on only while what they tell of is known.
  const frozen = performance.now();
  time.now = isLive ? () => performance.now() : () => frozen;
  setAttr(document.documentElement, "data-link", name);
  const isLost = name === "lost" || name === "late";
  $("retry").hidden = name !== "lost";
  $("notice").hidden = !(isLost || name === "forbidden");
  if (isLost) {
    const known = model.gateway !== null;
    setLink("bad", known ? `No connection since ${clock(at)}` : "No connection");
    setMarked(
      $("notice"),
      `No connection${known ? ` since ${clock(at)}` : ""}${why ? `: ${why}` : ""}. ${known ? "All figures are of that time. " : ""}The page tries again by itself.`,
    );
    setText(
      $("verdict"),
      known ? `No connection since ${clock(at)}` : "No connection to the gateway",
    );
    setAttr($("verdict"), "data-level", "bad");
    setText($("verdict-more"), "");
    if (saidLevel !== "lost") say("The connection to the gateway is lost");
    saidLevel = "lost";
  } else if (name === "connecting") {
    setLink("off", "Connecting …");
    setText($("verdict"), "Connecting …");
    setAttr($("verdict"), "data-level", "off");
  } else if (name === "refused") refused(why);
  else if (name === "forbidden") forbidden(why);
  else if (name === "off") setLink("off", "Not connected");
  showSections(name !== "forbidden");
}

// What the gateway has not told of is not shown as if there was nothing.
function showSections(all) {
  for (const name of LIVE) parts[name].section.hidden = !(all && model.told.has(name));
  $("tiles").hidden = !all;
}

// May call functions, and may not see what others do.
function forbidden(why) {
  setLink("good", "Connected");
  setText($("verdict"), "Functions that you may call");
  setAttr($("verdict"), "data-level", "off");
  setText($("verdict-more"), "");
  setMarked(
    $("notice"),
    `What runs here is shown to admins: the feed needs an admin's bearer${why ? ` (${why})` : ""}. Functions can be tried with this one.`,
  );
  say("This bearer may call functions and may not see what runs");
  askFunctions();
}

function refused(why) {
  leave(`This bearer is not accepted${why ? `: ${why}` : ""}. Enter another one.`);
}

function leave(why) {
  session.bearer = null;
  pick.set("easyremote.bearer", null);
  feed.close();
  panel.close();
  nodePanel.close();
  model.clear();
  listed.clear();
  askedFor = "";
  saidLevel = "";
  setAttr(document.documentElement, "data-panel", null);
  $("app").hidden = true;
  $("leave").hidden = true;
  $("retry").hidden = true;
  $("enter").hidden = false;
  setText($("about"), "");
  setLink("off", "Not connected");
  setText($("enter-why"), why ?? "");
  $("enter-why").hidden = !why;
  setAttr($("bearer"), "aria-invalid", why ? "true" : null);
  setAttr($("bearer"), "aria-describedby", why ? "enter-why bearer-hint" : "bearer-hint");
  $("bearer").value = "";
  $("bearer").focus();
}

function enter(bearer) {
  session.bearer = bearer;
  pick.set("easyremote.bearer", bearer);
  $("enter").hidden = true;
  $("app").hidden = false;
  $("leave").hidden = false;
  askFunctions();
  feed.open();
  follow();
}

// A bearer in the fragment leaves the address at once. No server sees a fragment.
function takeBearer() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const bearer = hash.get("bearer");
  if (bearer === null) return null;
  hash.delete("bearer");
  const rest = hash.toString();
  history.replaceState(null, "", location.pathname + (rest ? `#${rest}` : ""));
  return bearer.trim() || null;
}

const THEMES = ["system", "dark", "light"];
function showTheme(theme) {
  setAttr(document.documentElement, "data-theme", theme === "system" ? null : theme);
  setText($("theme"), `Theme: ${theme}`);
}
let theme = THEMES.includes(pick.get("easyremote.theme", localStorage))
  ? pick.get("easyremote.theme", localStorage)
  : "system";
showTheme(theme);
$("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  pick.set("easyremote.theme", theme, localStorage);
  showTheme(theme);
});
$("leave").addEventListener("click", () => leave(null));
$("retry").addEventListener("click", () => feed.retry());
$("enter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const bearer = $("bearer").value.trim();
  if (bearer) enter(bearer);
});
addEventListener("hashchange", () => {
  const bearer = takeBearer();
  if (bearer) enter(bearer);
  else follow();
});
addEventListener("popstate", follow);
// Times that pass are shown also when nothing else has changed.
setInterval(() => {
  if (feed.state.name === "live") soonDraw();
  else if (feed.state.name === "forbidden") askFunctions();
}, 5000);

// What was built so far is shown before more is done.
await new Promise((resolve) => setTimeout(resolve));
const given = fromAddress ?? pick.get("easyremote.bearer");
if (given) enter(given);
else leave(null);
