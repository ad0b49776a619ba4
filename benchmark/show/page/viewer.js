// The dialog of a point: pictures side by side, their numbers, and the address that opens it.
"use strict";

page.viewer = { point: null, image: null, codecs: [], order: [], flicker: null, sort: 0, down: false };

page.MODES = [
  ["slider", "Slider"], ["flicker", "Flicker"], ["difference", "Difference ×8"], ["decoded", "Decoded"],
  ...(page.data.maps.length ? [["where", "Where"]] : []),
];
page.FLICKER_MS = 600;
page.MAX_PANES = 4;

// Links are #dataset/codec/setting/image?beside=codec,codec&metric=column&where=column; `:` and `=` stay legible.
page.linkOf = (point, image, beside) => {
  const { data } = page;
  const part = (text) => encodeURIComponent(text).replace(/%3A/g, ":").replace(/%3D/g, "=");
  const label = (codec) => part(data.codecs[codec].label);
  const path = `#${part(data.dataset)}/${label(point.codec)}/${part(point.setting)}`;
  if (image === undefined) return path;
  const metric = page.metric === data.measures[0].column ? "" : `&metric=${part(page.metric)}`;
  const where = page.sight.mode === "where" ? `&where=${part(page.where.column)}` : "";
  return `${path}/${part(data.images[image].name)}?beside=${beside.map(label).join(",")}${metric}${where}`;
};

// Resolve a link to entries of the page's data: {point, image, beside, metric, where}, and `said`, a
// sentence on what the page lacks; null if the address has no link.
page.linked = () => {
  const text = location.hash.slice(1);
  if (!text || page.by(text)) return null;
  const { data } = page;
  const lacking = [];
  const place = (list, what, text, ...tests) => {
    const found = tests.map((test) => list.findIndex(test)).find((at) => at >= 0);
    if (found === undefined) lacking.push(`the ${what} “${text}”`);
    return found;
  };
  const codecOf = (text) => place(data.codecs, "codec", text, (one) => one.label === text, (one) => one.name === text);
  try {
    const [path, query = ""] = text.split(/\?(.*)/s);
    const [dataset, codec, setting, image] = path.split("/").map(decodeURIComponent);
    if (!setting) throw new URIError(path);
    const more = Object.fromEntries(query.split("&").map((one) => one.split(/=(.*)/s, 2)));
    place([data], "dataset", dataset, (one) => one.dataset === dataset);
    const of = codecOf(codec);
    return {
      point: of === undefined ? of : data.points[place(data.points, `setting of ${codec}`, setting, (one) => one.codec === of && one.setting === setting)],
      image: image && place(data.images, "image", image, (one) => one.name === image, (one) => one.name.replace(/\.[^.]*$/, "") === image),
      beside: more.beside?.split(",").filter(Boolean).map(decodeURIComponent).map(codecOf).filter((one) => one !== undefined),
      metric: more.metric && data.measures[place(data.measures, "metric", more.metric, (one) => one.column === decodeURIComponent(more.metric))],
      where: more.where && data.maps[place(data.maps, "map", more.where, (one) => one.column === more.where)],
      said: lacking.length ? `The link names ${lacking.join(", ")}, which this page does not have.` : "",
    };
  } catch {
    return { said: `The address ends in “#${text}”, which is not a link into this page.` };
  }
};

// The codecs shown at first: the point's, and one more with a picture, an anchor if one is near.
page.viewer.first = (point, image) => {
  const bpp = point.image_bpp[point.images.indexOf(image)];
  const shown = page.codecs
    .filter(({ place }) => place !== point.codec)
    .map(({ place }) => ({ place, ...page.nearest(place, image, bpp) }))
    .filter((one) => one.point && page.pictured(one.point, one.at))
    .map((one) => ({
      place: one.place, away: Math.abs(Math.log(one.point.image_bpp[one.at] / bpp)),
      last: !(page.data.neighbours.includes(one.place) && one.near),
    }))
    .sort((one, other) => one.last - other.last || one.away - other.away);
  return shown.slice(0, page.narrow.matches ? 0 : 1).map(({ place }) => place);
};

// Open what the address names, close what it no longer names, and say what is missing here.
page.viewer.recall = (first) => {
  const { viewer } = page;
  const dialog = page.by("viewer");
  const link = page.linked();
  const { point } = link ?? {};
  const open = Boolean(point?.images.length);
  page.by("notice").textContent = open ? "" : point ? "The page had no room for the images of this point." : link?.said ?? "";
  if (!open) {
    clearInterval(viewer.flicker);
    dialog.close(); // the focus goes back to where it was
    page.by("panes").replaceChildren();
    page.stages = [];
    return;
  }
  if (!history.state?.viewer && (first || dialog.open)) { // make the page itself the step before
    const address = location.href;
    history.replaceState(null, "", location.pathname + location.search);
    history.pushState(null, "", address);
  }
  if (link.metric) page.chooseMetric(link.metric.column);
  if (link.where) page.where.column = link.where.column;
  if (link.where) page.sight.mode = "where";
  const named = [...point.images].sort((one, other) => one - other); // images are ordered by name
  const image = named.includes(link.image) ? link.image
    : named.find((one) => page.pictured(point, point.images.indexOf(one))) ?? named[0];
  Object.assign(viewer, { point, image, codecs: [point.codec, ...(link.beside ?? viewer.first(point, image))] });
  if (!dialog.open) dialog.showModal();
  page.by("viewer-notice").textContent = link.said;
  viewer.show(true);
  page.by("viewer-title").focus();
};

// Go back to the page, which is the step before the viewer in the browser's history.
page.viewer.leave = () => history.state?.viewer && history.back();

// The point first, then the chosen codecs, each at its rate of the image nearest to the point's.
page.viewer.slots = () => {
  const { point, image, codecs } = page.viewer;
  const at = point.images.indexOf(image);
  const others = codecs
    .filter((codec) => codec !== point.codec)
    .map((codec) => page.nearest(codec, image, point.image_bpp[at]))
    .filter(Boolean);
  return [{ point, at }, ...others].slice(0, page.MAX_PANES);
};

// The metrics that fit into a line: the curves' metric, then those that rank codecs.
page.leads = () => [...new Set([page.metric, ...page.data.leads])].map(page.measure).filter(Boolean);

// The caption of a pane: codec, setting, rate (and its ratio to the first pane's), values.
page.describe = ({ point, at }, bpp) => {
  const own = point.image_bpp[at];
  const away = Math.abs(own / bpp - 1) < 0.0005 ? "" : ` (×${(own / bpp).toFixed(2)})`;
  const number = (textContent, far = "") => page.make("span", { className: `numbers ${far}`, textContent });
  return [
    page.make("strong", {}, page.swatch(page.codecs[point.codec]), page.make("span", { textContent: page.titleOf(point) })),
    number(`${page.rate(own)} bpp${away}`, page.close(own, bpp) ? "" : "far"),
    ...page.leads().filter((one) => one.by_image && point.image_values[one.column][at] !== null)
      .map((one) => number(page.reading(one, point.image_values[one.column][at]))),
  ];
};

page.viewer.show = (fit) => {
  const { data, viewer, sight } = page;
  const { point, image } = viewer;
  const source = data.images[image];
  const slots = viewer.slots();
  const bpp = point.image_bpp[slots[0].at];
  const panes = page.by("panes");
  page.stages = slots.map((slot) => page.stage(slot, source, page.describe(slot, bpp)));
  panes.replaceChildren(...page.stages.map((one) => one.figure));
  panes.style.setProperty("--columns", page.columns(slots.length, source));
  page.by("viewer-title").textContent = page.titleOf(point);
  const means = page.leads().filter((one) => point.means[one.column].value !== null);
  page.by("viewer-line").textContent = [`${page.rate(point.bpp)} bpp`, ...means.map((one) => {
    const mean = point.means[one.column];
    return page.reading(one, mean.value) + (mean.images === point.count ? "" : ` (${page.images(mean.images)})`);
  })].join("  ·  ");
  page.by("viewer-caption").textContent =
    `${source.name}, ${source.width} × ${source.height} pixels` +
    (slots.length > 1 ? `; other codecs at their rate of this image nearest to ${page.rate(bpp)} bpp.` : ".");
  const sweep = viewer.sweep();
  page.by("rate-down").disabled = sweep[0] === point;
  page.by("rate-up").disabled = sweep.at(-1) === point;
  viewer.chooseCodecs(bpp);
  viewer.table(slots);
  page.where.show(slots);
  viewer.setMode(sight.mode);
  if (fit || sight.fitted) page.fit();
  else page.showSight();
};

// Codecs that have the image: those of the legend, the others folded.
page.viewer.chooseCodecs = (bpp) => {
  const { point, image, codecs } = page.viewer;
  const full = codecs.length >= page.MAX_PANES;
  const listed = page.codecs.map((one) => {
    const checked = codecs.includes(one.place);
    const found = one.place === point.codec ? { point, at: point.images.indexOf(image) } : page.nearest(one.place, image, bpp);
    return {
      ...one, checked, found, disabled: one.place === point.codec || (full && !checked),
      unshown: found && !page.pictured(found.point, found.at), detail: found && `nearest rate: ${found.point.setting}`,
    };
  }).filter((one) => one.found);
  const isFirst = (one) => one.checked || page.first.has(one.key);
  page.choices(page.by("codec-choice"), [["", listed.filter(isFirst)], ["more codecs", listed.filter((one) => !isFirst(one))]],
    (one, checked) => {
      page.viewer.codecs = checked ? [...codecs, one.place] : codecs.filter((other) => other !== one.place);
      page.viewer.show(true);
      page.by("codec-choice").querySelector(`[value="${one.key}"]`).focus();
    });
};

// A row per image: its numbers and, next to another codec, its difference from it; headers sort.
page.viewer.table = ([{ point }, other]) => {
  const { viewer } = page;
  const measures = page.leads().filter((one) => one.by_image && point.image_values[one.column].some((value) => value !== null));
  const [lead] = other ? measures : [];
  const difference = (number, at) => {
    const [mine, its] = [point.image_values[lead.column][at], other.point.image_values[lead.column][other.point.images.indexOf(number)]].map(page.value);
    return Number.isFinite(mine) && Number.isFinite(its) ? mine - its : null;
  };
  const signed = (value) => (value > 0 ? "+" : "") + page.text(lead, value);
  const columns = [
    ["image", (number) => page.data.images[number].name, String],
    ["bpp", (_, at) => point.image_bpp[at], page.rate],
    ...measures.map((one) => [one.label, (_, at) => page.value(point.image_values[one.column][at]), (value) => page.text(one, value)]),
    ...(lead ? [[`Δ ${lead.name}`, difference, signed]] : []),
  ];
  const rows = point.images.map((number, at) => ({ number, at, values: columns.map(([, value]) => value(number, at)) }));
  const key = (row) => row.values[viewer.sort] ?? -Infinity;
  rows.sort((one, another) => (key(one) < key(another) ? -1 : key(one) > key(another) ? 1 : 0) * (viewer.down ? -1 : 1));
  const table = page.by("image-table");
  const heads = columns.map(([text], place) => {
    const button = page.make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => {
      Object.assign(viewer, { sort: place, down: viewer.sort === place && !viewer.down });
      viewer.table([{ point }, other]);
      table.tHead.rows[0].cells[place].firstChild.focus();
    });
    const order = viewer.sort !== place ? "none" : viewer.down ? "descending" : "ascending";
    return page.make("th", { scope: "col", className: place ? "number" : "text", "aria-sort": order }, button);
  });
  const body = rows.map(({ number, at, values }) => {
    const now = number === viewer.image;
    const button = page.make("button", {
      type: "button", "data-image": number, textContent: values[0], title: values[0], ...(now && { "aria-current": "true" }),
    });
    button.addEventListener("click", () => viewer.choose(number));
    return page.make("tr", { className: `${now ? "now" : ""} ${page.pictured(point, at) ? "" : "unshown"}` },
      page.make("th", { scope: "row", className: "text" }, button),
      ...columns.slice(1).map(([,, text], place) => page.make("td", { className: "number", textContent: text(values[place + 1]) })));
  });
  table.replaceChildren(
    page.make("caption", { className: "unseen", textContent: `Images of ${page.titleOf(point)}` }),
    page.make("thead", {}, page.make("tr", {}, ...heads)), page.make("tbody", {}, ...body));
  viewer.order = rows.map((row) => row.number);
  page.by("finding").textContent = lead ? viewer.finding(lead, point, other.point, rows.map((row) => row.values.at(-1)), signed) : "";
};

// The mean of paired differences with its interval, by Student's t, and how many are better.
page.viewer.finding = (measure, point, other, values, signed) => {
  const differences = values.filter((one) => one !== null);
  const count = differences.length;
  const mean = differences.reduce((sum, one) => sum + one, 0) / count;
  const squares = differences.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  const half = (page.data.quantiles[count - 2] ?? NaN) * Math.sqrt(squares / (count - 1) / count);
  const better = differences.filter((one) => (measure.better === "higher" ? one > 0 : one < 0)).length;
  const interval = Number.isNaN(half) ? "" : ` (paired ${page.data.confidence} % interval ${signed(mean - half)} to ${signed(mean + half)})`;
  return count ? `${page.titleOf(point)} at ${page.rate(point.bpp)} bpp minus ${page.titleOf(other)} at ${page.rate(other.bpp)} bpp: ` +
    `${measure.name} ${signed(mean)}${measure.unit}${interval}, better in ${better} of ${page.images(count)}.` : "";
};

page.viewer.choose = (image) => {
  const { viewer } = page;
  const [before, now] = [viewer.image, image].map((one) => page.data.images[one]);
  const focused = document.activeElement?.closest("#image-table tbody");
  viewer.image = image;
  viewer.show(before.width !== now.width || before.height !== now.height);
  if (focused) document.querySelector(`#image-table [data-image="${image}"]`).focus();
};

page.viewer.nextImage = (step) => {
  const { order, image } = page.viewer;
  page.viewer.choose(order[(order.indexOf(image) + step + order.length) % order.length]);
};

// The codec's points that have the image, lowest rate first.
page.viewer.sweep = () => page.sweep(page.viewer.point.codec).filter((one) => one.images.includes(page.viewer.image));

page.viewer.nextRate = (step) => {
  const sweep = page.viewer.sweep();
  const next = sweep[sweep.indexOf(page.viewer.point) + step];
  if (!next) return;
  page.viewer.point = next;
  page.viewer.show(false);
};

page.viewer.setMode = (mode) => {
  const { viewer, sight } = page;
  clearInterval(viewer.flicker);
  Object.assign(sight, { mode, original: false });
  page.press(page.by("mode-choice"), mode);
  page.by("where").hidden = mode !== "where";
  // The address opens this again; moving about is not a step in the browser's history.
  history.replaceState({ viewer: true }, "", page.linkOf(viewer.point, viewer.image, viewer.codecs.slice(1)));
  if (mode === "flicker") {
    viewer.flicker = setInterval(() => {
      sight.original = !sight.original;
      page.showSight();
    }, window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 3 * page.FLICKER_MS : page.FLICKER_MS);
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
  w: () => page.data.maps.length && page.viewer.setMode("where"),
  o: () => page.viewer.hold(true),
  n: () => page.viewer.nextImage(1),
  p: () => page.viewer.nextImage(-1),
  "[": () => page.viewer.nextRate(-1),
  "]": () => page.viewer.nextRate(1),
  "+": () => page.zoom(1.25),
  "=": () => page.zoom(1.25),
  "-": () => page.zoom(0.8),
  0: () => page.fit(),
  1: () => page.zoomWhole(),
  ",": () => page.moveSplit(page.sight.split - 0.02),
  ".": () => page.moveSplit(page.sight.split + 0.02),
  Escape: () => page.viewer.leave(),
};
page.viewer.ARROWS = {
  ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40],
};

page.viewer.listenToKeys = (dialog) => {
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const arrow = page.viewer.ARROWS[key];
    if (arrow && !event.target.closest("input, .scroll")) page.pan(...arrow);
    else if (page.viewer.KEYS[key]) page.viewer.KEYS[key]();
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "o") page.viewer.hold(false);
  });
};

page.startViewer = () => {
  const dialog = page.by("viewer");
  page.segments(page.by("mode-choice"), "mode", page.MODES, page.viewer.setMode);
  page.segments(page.by("where-choice"), "where", page.data.maps.map((one) => [one.column, one.label]), page.where.choose);
  const clicks = {
    "viewer-close": page.viewer.leave,
    "zoom-in": () => page.zoom(1.25),
    "zoom-out": () => page.zoom(0.8),
    "zoom-fit": page.fit,
    "zoom-whole": page.zoomWhole,
    "rate-down": () => page.viewer.nextRate(-1),
    "rate-up": () => page.viewer.nextRate(1),
  };
  for (const [id, act] of Object.entries(clicks)) page.by(id).addEventListener("click", act);
  page.viewer.listenToKeys(dialog);
  // The browser may close it, say by a phone's gesture; the event may come when it is open again.
  dialog.addEventListener("close", () => dialog.open || page.viewer.leave());
  new ResizeObserver(() => (page.sight.fitted ? page.fit() : page.showSight())).observe(page.by("panes"));
  window.addEventListener("hashchange", () => page.viewer.recall(false));
  page.viewer.recall(true);
};

page.startCurves();
page.startViewer();
