// The dialog of a point: its images with their numbers, pictures side by side.
"use strict";

page.viewer = { point: null, image: null, codecs: [], order: [], flicker: null, from: null };

page.viewer.MODES = [
  ["slider", "Slider"], ["flicker", "Flicker"], ["difference", "Difference ×8"], ["decoded", "Decoded"],
];
page.viewer.FLICKER_MS = 600;

// The codecs shown at first: the clicked one and another that has a picture, an anchor if one is near.
page.viewer.first = (point, image, asked) => {
  const bpp = point.image_bpp[point.images.indexOf(image)];
  const others = page.data.codecs.map((_, place) => place).filter((place) => place !== point.codec);
  const shown = others
    .map((place) => ({ place, found: page.nearest(place, image, bpp) }))
    .filter(({ found }) => found && typeof found.point.pictures[found.at] === "string")
    .map(({ place, found }) => {
      const away = Math.abs(Math.log(found.point.image_bpp[found.at] / bpp));
      return { place, away, last: !(page.data.neighbours.includes(place) && found.near) };
    })
    .sort((one, other) => one.last - other.last || one.away - other.away);
  const room = page.narrow.matches ? 0 : 1;
  return [point.codec, ...(asked ?? shown.slice(0, room).map(({ place }) => place))];
};

// The viewer chooses `image` and `codecs` unless given; `from` gets the focus back.
page.viewer.open = (number, image, codecs, from, said = "") => {
  const point = page.data.points[number];
  if (!point || !point.images.length) return;
  const named = [...point.images].sort((one, other) => one - other); // images are by name
  const pictured = named.find((one) => typeof point.pictures[point.images.indexOf(one)] === "string");
  const { viewer } = page;
  viewer.point = number;
  viewer.image = point.images.includes(image) ? image : pictured ?? named[0];
  viewer.codecs = viewer.first(point, viewer.image, codecs);
  viewer.from = from ?? document.activeElement;
  const dialog = page.by("viewer");
  if (!dialog.open) dialog.showModal();
  viewer.say(said);
  viewer.show(true);
  page.by("viewer-title").focus();
};

// Say a sentence in the viewer, until the next one.
page.viewer.say = (sentence) => {
  page.by("viewer-notice").textContent = sentence;
};

// Pictures first where there is little room, else below what changes them; so is the order of focus.
page.viewer.arrange = () => {
  const [bar, chips, panes, caption, keys] = [".viewer-bar", ".viewer-codecs", "#panes", "#viewer-caption", ".keys"]
    .map((selector) => document.querySelector(`#viewer ${selector}`));
  const parts = page.narrow.matches ? [panes, caption, bar, chips, keys] : [bar, chips, panes, caption, keys];
  document.querySelector("#viewer .viewer-main").append(...parts);
};

// One line on the point; behind it everything that is known of it.
page.viewer.head = (point) => {
  const { data } = page;
  const codec = data.codecs[point.codec];
  const means = (measures) => measures.filter((one) => point.means[one.column].value !== null).map((one) => {
    const mean = point.means[one.column];
    return page.reading(one, mean.value) + (mean.images === point.count ? "" : ` (${page.images(mean.images)})`);
  });
  page.by("viewer-title").textContent = page.titleOf(point);
  page.by("viewer-line").textContent = [`${page.rate(point.bpp)} bpp`, ...means(page.leads())].join("  ·  ");
  const facts = {
    Dataset: `${data.title}, means over ${page.images(point.count)}`,
    Metrics: means(data.measures).join(", "),
    Version: codec.version,
    Caveats: codec.caveats.join("; "),
    Call: codec.call,
    Protocols: [data.coding, ...data.measures.map((one) => one.protocol)].join(", "),
  };
  page.by("viewer-facts").replaceChildren(...Object.entries(facts).filter(([, text]) => text).map(([term, text]) =>
    page.make("div", {}, page.make("dt", { textContent: term }), page.make("dd", { textContent: text }))));
};

page.viewer.show = (fit) => {
  const { data, viewer, sight } = page;
  const point = data.points[viewer.point];
  const source = data.images[viewer.image];
  const at = point.images.indexOf(viewer.image);
  viewer.head(point);
  const slots = page.slots(point, viewer.image, viewer.codecs);
  const panes = page.by("panes");
  page.stages = slots.map((slot) => page.stage(slot, source, page.describe(slot, point.image_bpp[at])));
  panes.replaceChildren(...page.stages.map((one) => one.figure));
  panes.style.setProperty("--columns", page.columns(slots.length, source));
  page.codecChips(page.by("codec-choice"), point, viewer.image, viewer.codecs, viewer.toggle);
  viewer.order = page.imageTable(page.by("image-table"), point, viewer.image, viewer.choose);
  page.by("viewer-caption").textContent =
    `${source.name}, ${source.width} × ${source.height} pixels` +
    (slots.length > 1 ? `; other codecs at their rate of this image nearest to ${page.rate(point.image_bpp[at])} bpp.` : ".") +
    (source.picture ? "" : ` ${source.absent}`);
  const sweep = page.sweep(point.codec).filter((one) => one.images.includes(viewer.image));
  page.by("rate-down").disabled = sweep[0] === point;
  page.by("rate-up").disabled = sweep.at(-1) === point;
  viewer.remember();
  viewer.setMode(sight.mode);
  if (fit || sight.fitted) page.fit();
  else page.showSight();
};

// The address names what is open, so that a link opens it again. Opening is a step in the browser's
// history, so that Back closes; moving about is none.
page.viewer.remember = () => {
  const { viewer } = page;
  if (!page.by("viewer").open) return;
  const address = page.link.of(viewer.point, viewer.image, viewer.codecs.slice(1));
  if (history.state?.viewer) history.replaceState(history.state, "", address);
  else history.pushState({ viewer: true }, "", address);
};

// Give the focus back; where the address still names what was open, again when it no longer does
// (start.js), since going back to a section takes the focus.
page.viewer.leave = () => {
  page.viewer.from?.focus({ preventScroll: true });
  if (history.state?.viewer) history.back();
  else page.viewer.from = null;
};

// Open what the address names, close what it no longer names, and say what the page lacks of it.
page.viewer.recall = () => {
  const dialog = page.by("viewer");
  const link = page.link.read(location.hash);
  const open = link !== null && link.number !== null;
  const notice = page.by("notice");
  notice.textContent = link && !open ? link.said : "";
  notice.hidden = !notice.textContent;
  if (!open) {
    if (dialog.open) dialog.close();
    return;
  }
  // A link that was followed has the page itself as the step before it.
  if (!history.state?.viewer) history.replaceState(null, "", location.pathname + location.search);
  if (link.metric !== null) page.curves.choose(page.data.measures[link.metric].column);
  page.viewer.open(link.number, link.image, link.beside, page.by("chart"), link.said);
};

page.viewer.choose = (image) => {
  const { viewer } = page;
  const before = page.data.images[viewer.image];
  const now = page.data.images[image];
  const focused = document.activeElement?.closest("#image-table") !== null;
  viewer.image = image;
  viewer.show(before.width !== now.width || before.height !== now.height);
  if (focused) document.querySelector(`#image-table button[data-image="${image}"]`).focus();
};

page.viewer.toggle = (codec) => {
  const { viewer } = page;
  viewer.codecs = viewer.codecs.includes(codec)
    ? viewer.codecs.filter((one) => one !== codec)
    : [...viewer.codecs, codec];
  viewer.show(true);
  page.by("codec-choice").querySelector(`[data-codec="${codec}"]`)?.focus();
};

// Codecs that could stand beside the point and have no chip.
page.viewer.others = () => {
  const { point, image, codecs } = page.viewer;
  const { images, image_bpp } = page.data.points[point];
  const bpp = image_bpp[images.indexOf(image)];
  return codecs.length >= page.MOST_PANES ? [] : page.allCodecs().filter((one) =>
    !codecs.includes(one.place) && !page.shown.keys.includes(one.key) && page.nearest(one.place, image, bpp));
};

page.viewer.nextImage = (step) => {
  const { order, image } = page.viewer;
  page.viewer.choose(order[(order.indexOf(image) + step + order.length) % order.length]);
};

page.viewer.nextRate = (step) => {
  const { viewer } = page;
  const point = page.data.points[viewer.point];
  const sweep = page.sweep(point.codec).filter((one) => one.images.includes(viewer.image));
  const next = sweep[sweep.indexOf(point) + step];
  if (!next) return;
  viewer.point = page.data.points.indexOf(next);
  page.curves.chosen = viewer.point;
  viewer.show(false);
};

page.viewer.setMode = (mode) => {
  const { viewer, sight } = page;
  clearInterval(viewer.flicker);
  sight.mode = mode;
  sight.original = false;
  for (const radio of document.querySelectorAll("#mode-choice input")) radio.checked = radio.value === mode;
  if (mode === "flicker" && page.by("viewer").open) {
    viewer.flicker = setInterval(() => {
      sight.original = !sight.original;
      page.showSight();
    }, page.calm.matches ? 3 * viewer.FLICKER_MS : viewer.FLICKER_MS);
  }
  page.showSight();
};

page.viewer.hold = (held) => {
  if (page.sight.original === held || page.sight.mode === "flicker") return;
  page.sight.original = held;
  page.showSight();
};

page.viewer.KEYS = {
  s: () => page.viewer.setMode("slider"),
  f: () => page.viewer.setMode("flicker"),
  d: () => page.viewer.setMode("difference"),
  v: () => page.viewer.setMode("decoded"),
  o: () => page.viewer.hold(true),
  n: () => page.viewer.nextImage(1),
  p: () => page.viewer.nextImage(-1),
  "[": () => page.viewer.nextRate(-1),
  "]": () => page.viewer.nextRate(1),
  "+": () => page.zoom(1.25),
  "=": () => page.zoom(1.25),
  "-": () => page.zoom(0.8),
  "−": () => page.zoom(0.8),
  l: () => page.link.copy(page.viewer.say),
  0: () => page.fit(),
  1: () => page.zoomWhole(),
  ",": () => page.moveSplit(page.sight.split - 0.02),
  ".": () => page.moveSplit(page.sight.split + 0.02),
};
page.viewer.ARROWS = {
  ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40],
};

page.viewer.listenToKeys = (dialog) => {
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const arrow = page.viewer.ARROWS[key];
    const elsewhere = event.target.closest("input, select, .scroll");
    if (arrow && !elsewhere) page.pan(...arrow);
    else if (page.viewer.KEYS[key]) page.viewer.KEYS[key]();
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "o") page.viewer.hold(false);
  });
};

page.viewer.start = () => {
  const dialog = page.by("viewer");
  page.segments(page.by("mode-choice"), "mode", page.viewer.MODES, page.sight.mode, page.viewer.setMode);
  const clicks = {
    "viewer-close": () => dialog.close(),
    "copy-link": () => page.link.copy(page.viewer.say),
    "zoom-in": () => page.zoom(1.25),
    "zoom-out": () => page.zoom(0.8),
    "zoom-fit": page.fit,
    "zoom-whole": page.zoomWhole,
    "rate-down": () => page.viewer.nextRate(-1),
    "rate-up": () => page.viewer.nextRate(1),
  };
  for (const [id, act] of Object.entries(clicks)) page.by(id).addEventListener("click", act);
  page.finder(page.by("find-codec"), "Add a codec", page.viewer.others, (one) => page.viewer.toggle(one.place));
  page.viewer.arrange();
  page.viewer.listenToKeys(dialog);
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // the event is late: Forward has opened the viewer again
    clearInterval(page.viewer.flicker);
    page.by("panes").replaceChildren();
    page.stages = [];
    page.curves.draw();
    page.viewer.leave();
  });
  for (const button of document.querySelectorAll("button[data-point]")) {
    const number = Number(button.dataset.point);
    button.disabled = !page.data.points[number].images.length;
    button.addEventListener("click", () => page.viewer.open(number, null, null, button));
  }
  new ResizeObserver(() => (page.sight.fitted ? page.fit() : page.showSight())).observe(page.by("panes"));
};
