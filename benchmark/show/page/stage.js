// Panes with a source and a decoded picture, at a position and zoom that all panes share.
"use strict";

// Scale is in CSS pixels per image pixel; x, y is the position of the picture's corner in the stage.
page.sight = { scale: 1, x: 0, y: 0, split: 0.5, mode: "slider", original: false, fitted: true };

page.stages = [];

// The 8-bit difference times eight, clipped to 255, without reading pixels, which a canvas may not
// do for local files: draw the pictures' difference, then three times the result over itself.
page.difference = (canvas, original, decoded) => {
  canvas.width = decoded.naturalWidth;
  canvas.height = decoded.naturalHeight;
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "copy";
  context.drawImage(original, 0, 0);
  context.globalCompositeOperation = "difference";
  context.drawImage(decoded, 0, 0);
  context.globalCompositeOperation = "lighter";
  for (let doubled = 0; doubled < 3; doubled++) context.drawImage(canvas, 0, 0);
};

// A pane for {point, at}: its picture with its overlays, or the reason why there is none.
page.stage = ({ point, at }, source, caption) => {
  const stage = page.make("div", { className: "stage" });
  const figure = page.make("figure", { className: "pane" }, stage, page.make("figcaption", {}, ...caption));
  const one = { stage, figure, layers: [], over: null, map: null, handle: null };
  // Commands, in backticks, can be copied.
  const say = (text, kind = "absent") => stage.append(page.make("p", { className: kind }, page.make("span", {}, ...text.split("`").map((part, place) => {
    if (place % 2 === 0) return part;
    const copy = page.make("button", { type: "button", title: "Copy the command", textContent: part });
    copy.addEventListener("click", () => navigator.clipboard.writeText(part).then(() => copy.classList.add("copied")));
    return copy;
  }))));
  if (!page.pictured(point, at)) {
    say(page.data.absent[point.pictures[at]]);
    return one;
  }
  const layer = (kind, picture) => {
    stage.append(page.make("div", { className: `layer ${kind}` }, picture));
    one.layers.push(picture);
    return picture;
  };
  const picture = (src, alt) => {
    const made = page.make("img", { src, alt, draggable: false, decoding: "sync", width: source.width, height: source.height });
    made.addEventListener("error", () => say(`${src} is missing next to this page.`), { once: true });
    return made;
  };
  const original = source.picture && layer("under", picture(source.picture, `${source.name}, original`));
  const decoded = layer("over", picture(point.pictures[at], `${source.name}, decoded: ${page.titleOf(point)}`));
  one.over = decoded.parentElement;
  const map = page.where.layer({ point, at }, source);
  if (map) one.map = layer("map", map);
  if (original) {
    const canvas = layer("difference", page.make("canvas", { role: "img", "aria-label": `Difference ×8, ${page.titleOf(point)}` }));
    Promise.all([original.decode(), decoded.decode()]).then(() => page.difference(canvas, original, decoded)).catch(() => {});
    one.handle = page.make("div", { className: "handle" });
    const tag = (side, text) => page.make("span", { className: `tag ${side}`, textContent: text });
    stage.append(one.handle, tag("left", "original"), tag("right", "decoded"));
  } else if (source.absent) say(source.absent, "absent low");
  page.listenToStage(one);
  return one;
};

// Apply position, zoom and mode to every pane.
page.showSight = () => {
  const { scale, x, y, split, mode, original } = page.sight;
  const ratio = window.devicePixelRatio || 1;
  // Align picture pixels with the screen's: browsers put the stage itself on a whole one.
  const whole = (value) => Math.round(value * ratio) / ratio;
  for (const one of page.stages) {
    const kind = original && one.handle ? "original" : one.handle || mode === "where" ? mode : "decoded";
    if (one.map && mode === "where") one.map.src ||= one.map.dataset.map;
    one.stage.dataset.mode = kind;
    for (const layer of one.layers) {
      layer.style.transform = `translate(${whole(x)}px, ${whole(y)}px) scale(${scale})`;
      if (layer !== one.map) layer.style.imageRendering = scale * ratio >= 1 ? "pixelated" : "auto";
    }
    if (one.over) {
      const left = Math.round(split * one.stage.clientWidth);
      one.over.style.clipPath = kind === "slider" ? `inset(0 0 0 ${left}px)` : "none";
      if (one.handle) one.handle.style.left = `${left}px`;
    }
  }
  page.by("zoom-now").textContent = `${Math.round(100 * scale * ratio)} %`;
};

// Choose the number of panes per row that makes pictures largest.
page.columns = (count, { width, height }) => {
  const { clientWidth, clientHeight } = page.by("panes");
  const scale = (columns) => {
    const room = clientHeight / Math.ceil(count / columns) - 34; // the caption's
    return Math.min(clientWidth / columns / width, room / height);
  };
  const choices = Array.from({ length: count }, (_, place) => place + 1);
  return choices.reduce((best, columns) => (scale(columns) > scale(best) ? columns : best));
};

page.fit = () => {
  const first = page.stages.find((one) => one.layers.length);
  if (!first) return;
  const { width, height } = first.layers[0];
  const { clientWidth, clientHeight } = first.stage;
  const scale = Math.min(clientWidth / width, clientHeight / height) || 1;
  Object.assign(page.sight, {
    scale, x: (clientWidth - scale * width) / 2, y: (clientHeight - scale * height) / 2, fitted: true,
  });
  page.showSight();
};

// Zoom by a factor about a place in the stage, by default its middle.
page.zoom = (factor, x = null, y = null) => {
  const { sight } = page;
  const stage = page.stages[0]?.stage;
  if (!stage) return;
  const ratio = window.devicePixelRatio || 1;
  const scale = Math.max(0.05, Math.min(32 / ratio, sight.scale * factor));
  const at = [x ?? stage.clientWidth / 2, y ?? stage.clientHeight / 2];
  sight.x = at[0] - ((at[0] - sight.x) * scale) / sight.scale;
  sight.y = at[1] - ((at[1] - sight.y) * scale) / sight.scale;
  sight.scale = scale;
  sight.fitted = false;
  page.showSight();
};

page.zoomWhole = () => page.zoom(1 / (window.devicePixelRatio || 1) / page.sight.scale);

page.pan = (right, down) => {
  page.sight.x += right;
  page.sight.y += down;
  page.sight.fitted = false;
  page.showSight();
};

page.moveSplit = (share) => {
  page.sight.split = Math.max(0, Math.min(1, share));
  page.showSight();
};

// One finger or the mouse moves, two fingers zoom, the wheel zooms, the handle slides.
page.listenToStage = (one) => {
  const { stage, handle } = one;
  const fingers = new Map();
  let slides = false;
  const inStage = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    slides = event.target === handle;
    fingers.set(event.pointerId, inStage(event));
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("held");
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = inStage(event);
    fingers.set(event.pointerId, now);
    if (slides) {
      page.moveSplit(now[0] / stage.clientWidth);
    } else if (fingers.size === 1) {
      page.pan(now[0] - before[0], now[1] - before[1]);
    } else {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const reach = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
      if (reach(before)) page.zoom(reach(now) / reach(before), ...other);
    }
  });
  const release = (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) stage.classList.remove("held");
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    page.zoom(Math.exp(-event.deltaY / 400), ...inStage(event));
  }, { passive: false });
};
