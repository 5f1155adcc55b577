// portero's live page. What a call brings goes into text nodes, never markup.

const API = "/api/v1/";
const $ = (id) => document.getElementById(id);
const all = (what, node = document) => [...node.querySelectorAll(what)];
const write = (id, text) => ($(id).textContent = text);
const vary = (node, name, value) => node.style.setProperty(`--${name}`, value);
const now = () => performance.now() / 1000;
const page = document.documentElement;
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Words and numbers, in the reader's language. data-t and data-s are keys of the texts,
// data-v is a value and how to write it, as "lag_ms.p99|ms1"; in texts too.

let words = {};

function figure(digits, unit = "", sign = "") {
  const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return (value) =>
    value == null ? "–" : sign + value.toLocaleString(page.lang, fixed) + unit;
}

const AS = {
  text: (value) => value ?? "",
  number: figure(0),
  ms: figure(0, " ms"),
  ms1: figure(1, " ms"),
  db: figure(0, " dB"),
  money: (value) => figure(value < 1 ? 3 : 2, "", "$")(value),
  when: (iso) =>
    new Date(iso).toLocaleString(page.lang, { dateStyle: "medium", timeStyle: "short" }),
  clock(seconds) {
    const two = (value) => String(Math.floor(value % 60)).padStart(2, "0");
    const hours = seconds >= 3600 ? `${Math.floor(seconds / 3600)}:` : "";
    return `${hours}${two(seconds / 60)}:${two(seconds)}`;
  },
};

const put = (text, data) =>
  text.replace(/\{([\w.]+)\|?(\w*)\}/g, (_, path, as) =>
    AS[as || "text"](path.split(".").reduce((found, name) => found?.[name], data)));

const t = (key, data = {}) => put(words[key] ?? key, data);

function show(node, data) {
  for (const field of [node, ...all("[data-v], [data-s]", node)]) {
    const { v, s } = field.dataset;
    const text = s ? t(s, data) : v && put(`{${v}}`, data);
    if (text != null && field.textContent !== text) field.textContent = text;
  }
  return node;
}

const stamp = (kind, data) =>
  show($(`${kind}-row`).content.firstElementChild.cloneNode(true), data);

const list = (id, kind, these, finish) =>
  $(id).replaceChildren(...these.map((one) => {
    const row = stamp(kind, one);
    finish?.(row, one);
    return row;
  }));

async function speak(language) {
  words = await (await fetch(`/texts/${language}.json`)).json();
  page.lang = $("language").value = language;
  for (const node of all("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of all("[data-label]")) node.ariaLabel = t(node.dataset.label);
  for (const node of all("[data-hint]")) node.placeholder = t(node.dataset.hint);
}

function notice(text) {
  write("notice", text);
  clearTimeout(notice.timer);
  if (text) notice.timer = setTimeout(notice, 8000, "");
}

// The API

let me = { rights: [] };
const can = (right) => me.rights.includes(right);

async function request(path, options) {
  const answer = await fetch(API + path, options);
  if (answer.ok) return answer;
  throw new Error((await answer.json().catch(() => ({}))).detail ?? answer.statusText);
}

async function api(path, body) {
  const answer = await request(path, {
    headers: { "Accept-Language": page.lang, "Content-Type": "application/json" },
    method: body && "POST",
    body: JSON.stringify(body),
  });
  return answer.status === 204 || answer.json();
}

const attempt = (doing) => doing.catch((error) => notice(error.message));

$("login-form").onsubmit = async (event) => {
  event.preventDefault();
  const { token, ...person } = Object.fromEntries(new FormData(event.target));
  try {
    await api("login", token ? { token } : person);
    event.target.reset();
    $("login").hidePopover();
    connect();
  } catch (error) {
    write("login-words", error.message);
  }
};
$("logout").onclick = () => api("logout", {}).then(() => location.reload());

// The stream of events comes back by itself

const link = { tries: 0, turn: 0 };

function linked(how) {
  if ($("link").dataset.link === how) return;
  $("link").dataset.link = how;
  write("link-words", t(`link.${how}`));
}

function disconnect(how) {
  link.turn++;
  link.source?.close();
  link.source = null;
  clearTimeout(link.timer);
  linked(how);
}

function lost() {
  disconnect("lost");
  const wait = Math.min(15000, 1000 * 2 ** link.tries++);
  link.timer = setTimeout(connect, wait * (1 - Math.random() / 2));
}

// The house is told every 2 s: a silent line is a dead one.
function expect() {
  clearTimeout(link.timer);
  link.timer = setTimeout(lost, 15000);
}

async function connect() {
  disconnect(link.tries ? "lost" : "connecting");
  expect();
  const turn = link.turn;
  const visitor = await api("me").catch(() => null);
  if (turn !== link.turn) return;
  if (!visitor) return lost();
  me = visitor;
  write("who", me.name);
  page.dataset.me = me.needs_login ? "out" : /^\w/.test(me.name) && "in";
  page.dataset.rights = me.rights.join(" ");
  for (const node of all("[data-right]")) node.disabled = !can(node.dataset.right);
  page.dataset.ready = true;
  if (!can("read")) {
    $("login").togglePopover(me.needs_login);
    return disconnect("closed");
  }
  const stream = new EventSource(`${API}events${call.live ? `?call=${call.id}` : ""}`);
  link.source = stream;
  stream.onerror = lost;
  for (const [name, hear] of Object.entries(HEARD))
    stream.addEventListener(name, ({ data }) => {
      link.tries = 0;
      linked("live");
      expect();
      hear(JSON.parse(data));
    });
}

const HEARD = {
  async hello({ version }) {
    if (call.id && !call.facts) choose(call.id);
    if (link.version === version) return;
    if (link.version && !talk) location.reload();
    ({ agents } = await api("agents"));
    for (const id of ["agents", "talk-agent"]) list(id, "option", agents);
    link.version = version;
  },
  calls(news) {
    calls.clear();
    for (const one of news.calls) calls.set(one.id, view(one));
    showCalls();
    if (call.live && calls.has(call.id)) showCall(calls.get(call.id));
  },
  levels(levels) {
    for (const [id, both] of Object.entries(levels)) {
      if (rows.has(id)) showLevels(rows.get(id), both);
      if (id === talk?.id) showLevels($("talk"), both);
    }
  },
  gone({ id }) {
    if (id === call.id) choose(id);
    if ($("tab-history").checked && pages.length === 1) find();
  },
  story(news) {
    tell(news.happened);
    showCall(view(news.call));
  },
  house: showHouse,
  happened: happen,
  wave: hearWave,
};

// Calls now

const calls = new Map();
const rows = new Map();
const order = { by: "time", sign: -1 };

function view(one) {
  const doing = one.outcome ? `outcome.${one.outcome}`
    : one.state === "talking" ? `floor.${one.floor.split(",")[0]}` : `state.${one.state}`;
  return {
    ...one, doing, words: t(doing), came: now(), time: one.seconds,
    latency_ms: one.latency_ms ?? one.last_latency_ms,
    name: one.caller_name || one.caller_number || t("unknown"),
    second: one.caller_name && one.caller_number,
  };
}

function showCalls() {
  const wanted = $("filter").value.toLowerCase();
  const key = (one) => one[order.by] ?? -1;
  const shown = [...calls.values()]
    .filter((one) => [one.name, one.second, one.called_number, one.agent, one.words]
      .join(" ").toLowerCase().includes(wanted))
    .sort((a, b) => order.sign * ((key(a) > key(b)) - (key(a) < key(b))));
  for (const id of rows.keys()) if (!calls.has(id)) rows.delete(id);
  const body = $("calls-body");
  const focus = document.activeElement;
  shown.forEach((one, at) => {
    const row = showRow(one);
    if (row !== body.rows[at]) body.insertBefore(row, body.rows[at]);
  });
  while (body.rows.length > shown.length) body.lastElementChild.remove();
  if (body.contains(focus)) focus.focus();
  for (const { parentNode: head, dataset } of all("thead button"))
    head.ariaSort = ["descending", "none", "ascending"][1 + order.sign * (dataset.sort === order.by)];
  write("calls-count", calls.size);
  write("calls-none", t(calls.size ? "calls.filtered" : "calls.none"));
}

const tag = (row, { id, doing }) => Object.assign(row.dataset, { call: id, doing });

function showRow(one) {
  const row = rows.get(one.id) ?? stamp("call", one);
  rows.set(one.id, row);
  tag(row, one);
  row.querySelector("button").ariaCurrent = one.id === call.id;
  return show(row, one);
}

function showLevels(where, levels) {
  all(".bars i", where).forEach((bar, side) => vary(bar, "db", (bar.dataset.db = levels[side])));
}

$("filter").oninput = showCalls;
$("calls").tHead.onclick = ({ target: { dataset: { sort: by } } }) => {
  if (!by) return;
  order.sign = order.by === by ? -order.sign : 1;
  order.by = by;
  showCalls();
};
onclick = ({ target }) => {
  const row = target.closest(":is(tr, li)[data-call]");
  if (row) location.hash = `call=${row.dataset.call}`;
};
onkeydown = (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const picks = all(".pick", event.target.closest("tbody, ol") ?? page);
  const at = picks.indexOf(event.target);
  if (!step || at < 0) return;
  event.preventDefault();
  picks[at + step]?.focus();
};

// The chosen call: its story

let call = { id: "" };
let story;

async function choose(id) {
  const before = call;
  call = { id, seconds: 0 };
  if (before.id !== id) ear?.abort();
  tell([]);
  wave = { caller: [], agent: [], end: 0, came: 0 };
  const found = id && can("read") && (await attempt(api(`calls/${id}`)));
  if (call.id !== id) return;
  call.live = found?.live;
  call.facts = found && view(found.call);
  Object.assign($("call").dataset, { call: id, live: call.live ?? "" });
  $("past").dataset.recording = found?.recording;
  fit();
  if (call.live) showTargets();
  else if (found) showPast(found);
  if (found && before.facts?.id !== id) $("call").scrollIntoView();
  showCalls();
  if (call.live || before.live) connect();
}

async function showTargets() {
  const { targets } = await api("targets");
  list("target", "option", targets, (row, one) => {
    row.value = one.name;
    if (!one.open) row.textContent = t("closed", one);
  });
}

function tell(happened) {
  story = { said: new Map(), tools: {}, speech: new Map(), tool: 0 };
  for (const id of ["story", "strip", "turns"]) $(id).replaceChildren();
  happened.forEach(happen);
}

function happen(one) {
  call.seconds = Math.max(call.seconds, one.at);
  if (TOLD[one.kind]) TOLD[one.kind](one);
  else if (`mark.${one.kind}` in words) mark(one);
  if (call.live && !story.left) story.frame ??= requestAnimationFrame(follow);
}

function follow() {
  $("story").scrollTop = 1e9;
  story.frame = null;
}

$("story").onscroll = ({ target: box }) =>
  (story.left = box.scrollHeight - box.scrollTop - box.clientHeight > 60);

function add(id, node) {
  $(id).append(node);
  if ($(id).childElementCount > 1000) $(id).firstElementChild.remove();
  return node;
}

function said({ role, item, at }) {
  let one = story.said.get(item);
  if (!one) {
    const row = add("story", stamp("said", { who: t(`role.${role}`), at }));
    row.dataset.role = role;
    one = { row, text: "", share: 1 };
  }
  if (item) story.said.set((one.row.dataset.item = item), one);
  return one;
}

// Of a cut text as much was heard as of its sound, in whole words.
function showText(one, growing) {
  const end = Math.round(one.text.length * one.share) + 1;
  const heard = one.share < 1 ? one.text.slice(0, end).replace(/\s*\S*$/, "") : one.text;
  const text = one.row.querySelector(".text");
  text.textContent = heard;
  if (one.share < 1)
    text.append(stamp("cut", { rest: one.text.slice(heard.length) }));
  one.row.classList.toggle("growing", growing);
}

const SIGNS = { barge_in: "▼", false_alarm: "▽", tool: "◆" };

function mark(one, did = one.did ?? one.kind) {
  if (SIGNS[did]) onStrip(did, one.at);
  add("story", stamp("mark", { ...one, text: t(`mark.${did}`, one) })).dataset.what = did;
}

function onStrip(what, at) {
  const node = add("strip", document.createElement(SIGNS[what] ? "b" : "i"));
  node.dataset.mark = what;
  node.textContent = SIGNS[what];
  vary(node, "at", at);
  return node;
}

const speech = (side, item, at) =>
  story.speech.set(item, { node: onStrip(side, at), at });

function silence(item, at) {
  const one = story.speech.get(item);
  if (one) vary(one.node, "for", at - one.at);
  story.speech.delete(item);
}

const TOLD = {
  caller({ at, speaking, item }) {
    if (!speaking) return silence("", at);
    speech("caller", "", at);
    if (item) said({ role: "user", item, at });
  },
  words(one) {
    const bubble = said(one);
    bubble.text += one.text;
    showText(bubble, true);
  },
  said(one) {
    const bubble = said(one);
    bubble.text = one.text;
    showText(bubble, false);
  },
  sounding: ({ item, at }) => speech("agent", item, at),
  played_out: ({ item, at }) => silence(item, at),
  cut(one) {
    silence(one.item, one.at);
    const bubble = said({ ...one, role: "assistant" });
    bubble.share = one.heard_ms / (one.given_ms || 1);
    showText(bubble, false);
  },
  turn(one) {
    const row = add("turns", stamp("turn", one));
    row.dataset.turn = one.turn;
    vary(row, "ms", one.sounded_ms);
  },
  state: (one) => `mark.${one.state}` in words && mark(one, one.state),
  service: (one) => mark(one, one.lost ? "lost" : "service"),
  operator: mark,
  recording: mark,
  tool_began(one) {
    story.tool++;
    onStrip("tool", one.at);
    const row = add("story", stamp("tool", { ...one, took: t("running") }));
    story.tools[one.tool] = { ...one, row };
  },
  tool_ended({ tool, ok, ms, result }) {
    const one = story.tools[tool];
    if (!one) return;
    one.row.dataset.ok = ok;
    show(one.row, { ...one, took: AS.ms(ms), result: `${ok ? "✓" : "✗"} ${result}` });
  },
};

// The chosen call: figures and acts

function showCall(one) {
  call.facts = one;
  $("call-state").dataset.doing = one.doing;
  for (const id of ["call-head", "figures", "strip-words"]) show($(id), { ...story, ...one });
  for (const value of all("#figures dd"))
    value.parentNode.hidden = value.textContent === "–";
  showTime(one);
}

function showTime(one) {
  call.seconds = Math.max(call.seconds, one.time);
  write("call-time", AS.clock(one.time));
  for (const { node, at } of story.speech.values()) vary(node, "for", call.seconds - at);
  vary($("strip"), "all", Math.max(call.live ? 20 : 1, call.seconds));
}

const act = (what, body) =>
  attempt(api(`calls/${call.id}/${what}`, body).then(() => notice(t(`done.${what}`))));

$("acts").onsubmit = (event) => {
  event.preventDefault();
  act(event.target.name, Object.fromEntries(new FormData(event.target)));
  event.target.reset();
};
$("ask-yes").onclick = () => act("hang_up", {});

// The chosen call: its sound

let wave;

const colour = (name) => getComputedStyle(page).getPropertyValue(`--${name}`);

function hearWave({ at, step_ms: step, caller, agent }) {
  wave.end = (at * 1000) / step + caller.length;
  wave.came = now();
  wave.caller = [...wave.caller, ...caller].slice(-2000);
  wave.agent = [...wave.agent, ...agent].slice(-2000);
  $("wave").dataset.peak = Math.max(...caller, ...agent);
}

function fit() {
  const canvas = $("wave");
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  chart?.setSize(size());
  draw();
}

// A bar has 3 pixels; of a live call it is 40 ms, up to now.
function draw() {
  const { clientWidth: wide, clientHeight: high } = $("wave");
  const ink = $("wave").getContext("2d");
  ink.reset();
  ink.scale(devicePixelRatio, devicePixelRatio);
  const bars = Math.ceil(wide / 3);
  const since = Math.min(0.4, now() - wave.came) - 0.2;
  const [first, each, last] = wave.whole ? [0, wave.caller.length / bars, bars]
    : [wave.end - wave.caller.length, 2, (wave.end + 50 * since) / 2];
  ["caller", "agent"].forEach((side, lane) => {
    ink.fillStyle = colour(side);
    for (let bar = Math.floor(last - bars); bar < last; bar++) {
      const [from, to] = [bar, bar + 1].map((one) => Math.max(0, Math.round(one * each - first)));
      const peak = Math.max(0, ...wave[side].slice(from, to + (each < 1)));
      const tall = 2 + Math.sqrt(peak / 100) * (high / 2 - 8);
      ink.fillRect(wide - (last - bar) * 3, (high * (1 + 2 * lane) - 2 * tall) / 4, 2, tall);
    }
  });
  ink.fillStyle = colour("ink");
  if (wave.whole) ink.fillRect((wide * $("recording").currentTime) / call.seconds, 0, 2, high);
}

async function showPast({ happened, figures, verdict, recording }) {
  const { id, facts } = call;
  tell(happened);
  for (const { row, text } of story.said.values()) if (!text) row.remove();
  mark({ ...facts, at: facts.seconds }, "over");
  showCall({ ...figures, ...facts });
  list("verdict", "line", verdict.map((text) => ({ text })));
  for (const file of all("[download]"))
    file.href = `${API}calls/${id}/${file.dataset.what}`;
  const may = recording && can("listen");
  $("recording").src = may ? $("wav").href : "";
  const mine = wave;
  if (may) Object.assign(mine, await attempt(api(`calls/${id}/waveform`)), { whole: true });
  if (mine === wave) showTime({ time: mine.seconds ?? call.seconds });
  draw();
}

$("recording").ontimeupdate = draw;
$("wave").onclick = ({ offsetX, target }) => {
  if (!wave.whole) return;
  $("recording").currentTime = (call.seconds * offsetX) / target.clientWidth;
  $("recording").play();
};

// The house

let house;
let agents = [];
let chart;

function showHouse(news) {
  house = news;
  const hours = news.calls.by_hour;
  for (const one of ["well", "transferred", "failed"])
    news[one] = hours.reduce((sum, hour) => sum + hour[one], 0);
  show($("house"), news);
  const state = ["stopping", "draining", "ready"].find((one) => news[one]) ?? "problem";
  $("state").dataset.state = state;
  news.why = words[`problem.${news.problem}`] ?? news.problem;
  write("state-words", t(`house.${state}`, news));
  for (const [name, value] of Object.entries(news.latency)) vary($("range"), name, value ?? 0);
  $("drain").ariaChecked = news.draining;
  write("drain-what", t(`drain.${news.draining}`));
  const busy = ({ name }) => [...calls.values()].filter((one) => one.agent === name).length;
  const limit = (key, as, value, most, one) =>
    ({ name: t(key, one), text: t(`of.${as}`, { value, most }), value, most });
  list("limits", "meter", [
    limit("calls", "number", news.calls.now, news.calls.most),
    ...agents.map((one) => limit("calls.agent", "number", busy(one), one.max_calls, one)),
    limit("spend", "money", news.spend.today, news.spend.most),
    ...news.spend.agents.map((one) => limit("spend.agent", "money", one.today, one.most, one)),
  ].filter((one) => one.most), (row, { value, most }) => {
    vary(row, "share", value / most);
    row.classList.toggle("high", value > 0.8 * most);
  });
  list("providers", "provider", news.providers.map((one) => ({
    ...one, sign: one.problem ? "✗" : one.handshake_ms ? "✓" : "?",
    words: one.problem ? "" : t(one.handshake_ms ? "provider.fine" : "provider.new", one),
    past: one.last_error && t("provider.error", one),
  })), (row, one) => (row.dataset.ok = !one.problem));
  // Stacked: each series covers part of the one before.
  const data = [
    (one) => one.hour, (one) => one.well + one.transferred + one.failed,
    (one) => one.well + one.transferred, (one) => one.well,
  ];
  chart ??= drawDay();
  chart.setData(data.map((of) => hours.map(of)));
}

const size = () => ({ width: $("day").clientWidth, height: 130 });

function drawDay() {
  const show = false;
  const axis = { stroke: () => colour("muted"), ticks: { show }, grid: { show } };
  const bars = (name, share) => ({
    fill: () => colour(name), points: { show }, paths: uPlot.paths.bars({ size: [share, 99] }),
  });
  return new uPlot({
    ...size(), legend: { show }, cursor: { show },
    scales: {
      x: { time: false, range: [-0.6, 23.6] }, y: { range: (_, low, high) => [0, Math.max(4, high)] },
    },
    axes: [{ ...axis, size: 24, incrs: [3] },
      { ...axis, size: 34, incrs: [1, 2, 5, 10, 50, 200], grid: { stroke: () => colour("line") } }],
    series: [{}, bars("failed", 0.3), bars("transferred", 0.5), bars("well", 0.7)],
  }, [], $("day"));
}

$("drain").onclick = () => attempt(api("drain", { draining: !house.draining }));

// History

let pages = [""];

async function find() {
  const wanted = [...new FormData($("search")), ["before", pages.at(-1)]];
  const query = new URLSearchParams(wanted.filter(([, value]) => value));
  const found = await attempt(api(`history?${query}`));
  if (!found) return;
  list("found", "found", found.calls.map(view), tag);
  write("kept", t(found.kept));
  $("newer").disabled = pages.length < 2;
  $("older").disabled = !found.next;
  $("older").onclick = () => find(pages.push(found.next));
}

$("newer").onclick = () => find(pages.pop());
$("search").onsubmit = (event) => {
  event.preventDefault();
  pages = [""];
  find();
};
$("tab-history").onchange = find;

// Listening, and calling from here

let ear;
let talk;

async function sound(open, name, channels, options) {
  if (!isSecureContext) throw new Error(t("insecure"));
  const context = new AudioContext(options);
  open.push(context);
  await context.audioWorklet.addModule("/worklet.js");
  const node = new AudioWorkletNode(context, name, { outputChannelCount: [channels] });
  node.connect(context.destination);
  return node;
}

const shut = (open) => open.forEach((one) => one.close());

async function listen() {
  const mine = (ear = new AbortController());
  const open = [];
  $("listen").ariaPressed = true;
  try {
    const out = await sound(open, "wav", 2, { sampleRate: 16000 });
    const { body } = await request(`calls/${call.id}/listen`, { signal: mine.signal });
    const reader = body.getReader();
    for (let got = {}; !got.done; got = await reader.read()) out.port.postMessage(got.value ?? []);
  } catch (error) {
    if (!mine.signal.aborted) notice(error.message);
  }
  shut(open);
  if (ear === mine) ear = null;
  $("listen").ariaPressed = !!ear;
}

$("listen").onclick = () => (ear ? ear.abort() : listen());

function talking(how, text = t(`talk.${how}`)) {
  $("talk").dataset.talk = how;
  write("talk-words", text);
}

async function dial() {
  const open = [];
  talk = { since: now() };
  talking("asking");
  try {
    const out = await sound(open, "pcm", 1, { sampleRate: 24000 });
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    open.push({ close: () => microphone.getTracks()[0].stop() });
    const into = await sound(open, "microphone", 1);
    into.context.createMediaStreamSource(microphone).connect(into);
    talking("calling");
    const agent = encodeURIComponent($("talk-agent").value);
    const socket = new WebSocket(`${API}talk?agent=${agent}`);
    socket.binaryType = "arraybuffer";
    talk.send = (what) => socket.readyState === 1 && socket.send(what);
    talk.end = () => socket.close();
    into.port.onmessage = ({ data }) => talk?.send(data);
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return out.port.postMessage(data);
      talking("talking");
      talk.id = JSON.parse(data).call_id;
      location.hash = `call=${talk.id}`;
    };
    const { reason } = await new Promise((over) => (socket.onclose = over));
    talking("idle", reason || t("talk.over"));
  } catch (error) {
    talking("idle", words[error.name] ?? error.message);
  }
  shut(open);
  talk = null;
}

$("talk-start").onclick = dial;
$("talk-end").onclick = () => talk.end();
$("talk-keys").onclick = ({ target: { dataset: { key } } }) =>
  key && talk.send(JSON.stringify({ dtmf: key }));

// The page itself

function tint() {
  page.dataset.theme = localStorage.theme = $("theme").value;
  if (wave) draw();
}

function tick() {
  for (const one of link.source ? calls.values() : []) {
    one.time = one.seconds + now() - one.came;
    if (rows.has(one.id)) showRow(one);
    if (one === call.facts) showTime(one);
  }
  if (talk) write("talk-time", AS.clock(now() - talk.since));
  if (still.matches || wave.whole) draw();
}

document.onvisibilitychange = () => {
  clearInterval(link.ticking);
  clearTimeout(link.resting);
  if (document.hidden) link.resting = setTimeout(disconnect, 10000, "asleep");
  else {
    link.ticking = setInterval(tick, 1000);
    if (!link.source) connect();
  }
};
onhashchange = () => choose(/^#call=([\w-]+)$/.exec(location.hash)?.[1] ?? "");
onresize = fit;
$("theme").onchange = tint;
$("language").onchange = async ({ target }) => {
  await speak((localStorage.language = target.value));
  await choose(call.id);
  connect();
};
$("theme").value = localStorage.theme ?? "auto";
tint();
await speak(localStorage.language ?? page.lang);
onhashchange();
document.onvisibilitychange();
requestAnimationFrame(function frame() {
  if (call.live && !still.matches) draw();
  requestAnimationFrame(frame);
});
