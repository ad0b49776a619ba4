// A study's page: two pictures of one scene and its original, in the same place, one seen at a time.
"use strict";

const study = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const PAUSE_EVERY = 20;
const FLICKER_MS = 500;
const KEEP = `study-${study.study}`;

const state = {
  kept: null, // what is in this browser's storage: rater, list, answers, device
  trained: 0, images: [], view: 1, seen: new Set(), flips: 0, since: 0, ready: false, paused: 0, timer: 0,
};

const load = () => {
  try { return JSON.parse(localStorage.getItem(KEEP)); } catch { return null; }
};
const keep = () => {
  try { localStorage.setItem(KEEP, JSON.stringify(state.kept)); } catch { /* a browser that stores nothing */ }
};
const show = (id) => ["intro", "trial", "pause", "end"].forEach((one) => { get(one).hidden = one !== id; });
const hex = () => [...crypto.getRandomValues(new Uint8Array(8))].map((one) => one.toString(16).padStart(2, "0")).join("");
const questions = () => study.lists[state.kept.order - 1];
const training = () => state.trained < study.training.length && state.kept.answers.length === 0;
const device = () => ({
  pixel_ratio: devicePixelRatio * (window.visualViewport?.scale ?? 1),
  screen: [screen.width, screen.height], window: [innerWidth, innerHeight], touch: matchMedia("(hover: none)").matches,
});

// One pixel of a picture is one pixel of the screen, whatever the ratio of CSS pixels to these.
const fit = () => {
  const ratio = devicePixelRatio;
  const [first] = state.images;
  if (first) {
    const size = [`${first.naturalWidth / ratio}px`, `${first.naturalHeight / ratio}px`];
    [get("pictures"), ...state.images].forEach((one) => { [one.style.width, one.style.height] = size; });
  }
  const zoomed = (window.visualViewport?.scale ?? 1) !== 1;
  get("screen").textContent = zoomed ? "This page is zoomed: set it back to its size."
    : `This screen has ${ratio.toFixed(2)} pixels for each of the page's.`;
};

const see = (view) => {
  if (!state.ready || view === state.view) return;
  state.flips += 1;
  draw(view);
};
const draw = (view) => {
  state.view = view;
  state.seen.add(view);
  state.images.forEach((one, place) => one.classList.toggle("seen", place === view));
  [0, 1, 2].forEach((place) => get(`see${place}`).setAttribute("aria-pressed", String(place === view)));
  const may = state.ready && state.seen.has(1) && state.seen.has(2);
  get("choose1").disabled = get("choose2").disabled = !may;
};
const flicker = (on) => {
  clearInterval(state.timer);
  state.timer = 0;
  get("flicker").setAttribute("aria-pressed", String(on));
  if (!on) return;
  const side = state.view || 1;
  state.timer = setInterval(() => see(state.view ? 0 : side), FLICKER_MS);
};

const picture = (number) => {
  const image = new Image();
  image.src = study.files[number];
  image.alt = "";
  image.draggable = false;
  return image;
};
let ahead = { trial: null, images: [] }; // the next trial's pictures, loaded before they are needed
const imagesOf = (trial) => (ahead.trial === trial ? ahead.images : trial.slice(0, 3).map(picture));

const next = async () => {
  flicker(false);
  const { kept } = state;
  const practice = training();
  const list = questions();
  if (!practice && kept.answers.length >= list.length) { finish(); return; }
  const trial = practice ? study.training[state.trained] : list[kept.answers.length];
  const number = kept.answers.length;
  if (!practice && number && number % PAUSE_EVERY === 0 && state.paused !== number) {
    state.paused = number;
    get("done").textContent = `${number} of ${list.length} questions are answered.`;
    show("pause");
    get("resume").focus();
    return;
  }
  if (!practice) get("told").textContent = "";
  show("trial");
  state.ready = false;
  state.seen = new Set();
  state.images = imagesOf(trial);
  get("progress").textContent = practice ? `Example ${state.trained + 1} of ${study.training.length}` : `Question ${number + 1} of ${list.length}`;
  draw(1);
  const loading = state.images;
  try {
    await Promise.all(loading.map((one) => one.decode()));
  } catch {
    get("told").textContent = "A picture cannot be loaded: is the folder complete?";
    return;
  }
  if (loading !== state.images) return;
  get("pictures").replaceChildren(...loading);
  fit();
  const { clientWidth, clientHeight, scrollWidth, scrollHeight } = get("stage");
  get("stage").scrollTo((scrollWidth - clientWidth) / 2, (scrollHeight - clientHeight) / 2);
  state.ready = true;
  state.flips = 0;
  state.since = performance.now();
  draw(1);
  const following = practice ? study.training[state.trained + 1] ?? list[0] : list[number + 1];
  if (following) ahead = { trial: following, images: following.slice(0, 3).map(picture) };
};

const choose = (choice) => {
  if (get("trial").hidden || get("choose1").disabled) return;
  get("told").textContent = "";
  if (training()) {
    const right = study.training[state.trained][3] === choice;
    get("told").textContent = right ? "Yes, that one is closer." : "Look again: the other one is closer.";
    if (right) { state.trained += 1; next(); }
    return;
  }
  const ms = Math.round(performance.now() - state.since);
  state.kept.answers.push({ trial: state.kept.answers.length, choice, ms, flips: state.flips });
  state.kept.device = device();
  keep();
  next();
};

const text = () => JSON.stringify({ format: 1, study: study.study, ...state.kept });
const save = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text()], { type: "application/json" }));
  link.download = `answers-${state.kept.rater}.json`;
  link.click();
};
const finish = async () => {
  show("end");
  get("save").focus();
  get("sent").textContent = "Save the answers and send the file to the organiser.";
  if (!study.post) return;
  try {
    const plain = { "Content-Type": "text/plain" }; // needs no leave of the other server
    await fetch(study.post, { method: "POST", mode: "no-cors", headers: plain, body: text() });
    get("sent").textContent = "The answers are sent.";
  } catch {
    get("sent").textContent = "The answers could not be sent: save them and send the file to the organiser.";
  }
};

const begin = () => {
  const asked = Number(get("number").value);
  const known = asked >= 1 && asked <= study.lists.length;
  const order = known ? Math.floor(asked) : 1 + Math.floor(Math.random() * study.lists.length);
  state.kept = { rater: hex(), order, device: device(), answers: [] };
  keep();
  next();
};

const hold = (down) => {
  if (down && state.view) { state.held = state.view; see(0); }
  if (!down && state.held) { see(state.held); state.held = 0; }
};
const keys = { ArrowLeft: () => see(1), ArrowRight: () => see(2), 1: () => choose(1), 2: () => choose(2), f: () => flicker(!state.timer) };
addEventListener("keydown", (event) => {
  if (get("trial").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") { event.preventDefault(); if (!event.repeat) hold(true); return; }
  const act = keys[event.key];
  if (!act || event.repeat) return;
  event.preventDefault();
  if (event.key !== "f") flicker(false);
  act();
});
addEventListener("keyup", (event) => { if (event.key === " " && !get("trial").hidden) { event.preventDefault(); hold(false); } });
addEventListener("resize", fit);
window.visualViewport?.addEventListener("resize", fit);
[1, 2].forEach((side) => {
  get(`see${side}`).addEventListener("click", () => { flicker(false); see(side); });
  get(`choose${side}`).addEventListener("click", () => choose(side));
});
get("see0").addEventListener("pointerdown", () => { flicker(false); hold(true); });
["pointerup", "pointerleave", "pointercancel"].forEach((name) => get("see0").addEventListener(name, () => hold(false)));
get("see0").addEventListener("contextmenu", (event) => event.preventDefault());
get("pictures").addEventListener("click", () => { flicker(false); see(state.view === 1 ? 2 : 1); });
get("flicker").addEventListener("click", () => flicker(!state.timer));
get("begin").addEventListener("click", begin);
get("resume").addEventListener("click", next);
get("save").addEventListener("click", save);

get("number").max = study.lists.length;
get("number").value = new URLSearchParams(location.search).get("rater") ?? "";
state.kept = load();
fit();
if (state.kept?.answers?.length) next();
else get("begin").focus();
