// Charts as SVG: axes, curves, markers, a hover, zoom by dragging, and saving as a file.
"use strict";

page.ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

page.svg = (tag, attributes = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// Corners of one of the alike parts of a star, a plus and a thin cross: [radius, turned by].
page.star = [[1.35, 0], [0.6, 36]];
page.plus = [[1.05, -18.4], [1.05, 18.4], [0.47, 45]];
page.cross = [[1.05, -8], [1.05, 8], [0.2, 45]];

// Matplotlib's markers on a circle of radius 1, as [alike parts, turned by, corners of a part].
page.corners = {
  o: [24, 0], s: [4, 45], D: [4, 0], d: [4, 0], h: [6, 0], H: [6, 30], 8: [8, 22.5], p: [5, 0], "*": [5, 0, page.star],
  "^": [3, 0], v: [3, 180], "<": [3, -90], ">": [3, 90], P: [4, 0, page.plus], X: [4, 45, page.plus], x: [4, 45, page.cross],
};

// A marker, filled or open.
page.marker = (marker, x, y, colour, filled, size = 4.6) => {
  const [count, turn, part = [[1, 0]]] = page.corners[marker];
  const flat = marker === "d" ? 0.6 : 1;
  const corners = Array.from({ length: count }, (_, step) => part.map(([reach, by]) => [reach, turn + by + (360 * step) / count]));
  const points = corners.flat().map(([reach, degrees]) => {
    const angle = (degrees * Math.PI) / 180;
    return `${(x + flat * size * reach * Math.sin(angle)).toFixed(2)},${(y - size * reach * Math.cos(angle)).toFixed(2)}`;
  }).join(" ");
  return page.svg("polygon", {
    class: "point", points, fill: filled ? colour : page.ink("--page"), stroke: colour, "stroke-width": 1.3,
  });
};

// The range from lowest to highest with a margin, linear or logarithmic.
page.room = (values, share, logarithmic = false) => {
  const known = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  if (!known.length) return logarithmic ? [0.1, 1] : [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (logarithmic) return [low / (1 + share), high * (1 + share)];
  const margin = share * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
};

// Numbers at an axis: round ones, or 1, 2 and 5 times powers of ten over a wide logarithmic range.
page.ticks = ([low, high], logarithmic) => {
  if (logarithmic && high / low > 5) {
    const powers = Array.from({ length: 40 }, (_, place) => 10 ** (place - 20));
    return powers.flatMap((power) => [1, 2, 5].map((first) => first * power)).filter((one) => one >= low && one <= high);
  }
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(Math.floor(high / step) - first + 1, 0) }, (_, place) => (first + place) * step);
};

page.scale = ({ range: [low, high], log }, from, to) => {
  const bend = log ? Math.log : (value) => value;
  const slope = (to - from) / (bend(high) - bend(low));
  return {
    at: (value) => from + (bend(value) - bend(low)) * slope,
    back: (place) => (log ? Math.exp : (value) => value)(bend(low) + (place - from) / slope),
  };
};

// Draw a chart into a box. `chart` is {key, x, y, series, ring, open}; an axis is {title, range,
// log}; a series is {name, colour, marker, filled, width, dashes, band, points} with points {x, y,
// ends, hover, number}; `open` is called with the number of a clicked point. A new key ends a zoom.
page.plot = (box, chart) => {
  const first = !box.chart;
  const zoom = !first && box.chart.key === chart.key ? box.chart.zoom : null;
  box.chart = { ...chart, zoom };
  if (first) {
    page.listenToChart(box);
    new ResizeObserver(() => page.render(box)).observe(box);
  }
  page.render(box);
};

page.render = (box) => {
  const { chart } = box;
  const { clientWidth: width, clientHeight: height } = box;
  const axes = { x: { ...chart.x, ...chart.zoom?.x }, y: { ...chart.y, ...chart.zoom?.y } };
  const texts = (axis) => page.ticks(axis.range, axis.log).map((value) => [value, page.signed(String(+value.toPrecision(6)))]);
  const labels = { x: texts(axes.x), y: texts(axes.y) };
  const left = 34 + 7 * Math.max(1, ...labels.y.map(([, text]) => text.length));
  const area = { left, right: width - 10, top: 10, bottom: height - 44 };
  if (area.right <= left || area.bottom <= area.top) return;
  const x = page.scale(axes.x, area.left, area.right);
  const y = page.scale(axes.y, area.bottom, area.top);
  Object.assign(chart, { area, place: (one, other) => [x.at(one), y.at(other)], back: (one, other) => [x.back(one), y.back(other)] });
  const [muted, line, grid] = ["--muted", "--line", "--grid"].map(page.ink);
  const text = (content, attributes) =>
    page.svg("text", { fill: muted, "font-size": 12, "text-anchor": "middle", ...attributes }, content);
  const frame = page.svg("g");
  for (const [value, label] of labels.x) {
    const at = x.at(value).toFixed(1);
    frame.append(page.svg("line", { x1: at, x2: at, y1: area.top, y2: area.bottom, stroke: grid }),
      text(label, { x: at, y: area.bottom + 17 }));
  }
  for (const [value, label] of labels.y) {
    const at = y.at(value).toFixed(1);
    frame.append(page.svg("line", { x1: area.left, x2: area.right, y1: at, y2: at, stroke: grid }),
      text(label, { x: area.left - 7, y: Number(at) + 4, "text-anchor": "end" }));
  }
  const middle = (area.top + area.bottom) / 2;
  frame.append(
    page.svg("path", { d: `M${area.left} ${area.top}V${area.bottom}H${area.right}`, fill: "none", stroke: line }),
    text(axes.x.title, { class: "xtitle", x: (area.left + area.right) / 2, y: height - 8, "font-size": 13 }),
    text(axes.y.title, { class: "ytitle", transform: `translate(14 ${middle}) rotate(-90)`, "font-size": 13 })
  );
  const inside = page.svg("g", { "clip-path": `url(#${box.id}-area)` });
  for (const one of chart.series) inside.append(page.seriesOf(one, x, y));
  if (chart.ring) {
    inside.append(page.svg("circle", {
      cx: x.at(chart.ring.x), cy: y.at(chart.ring.y), r: 10, fill: "none", stroke: page.ink("--accent"), "stroke-width": 2,
    }));
  }
  const clip = page.svg("clipPath", { id: `${box.id}-area` }, page.svg("rect", {
    x: area.left, y: area.top - 6, width: area.right - area.left, height: area.bottom - area.top + 6,
  }));
  const picture = page.svg("svg", {
    width, height, viewBox: `0 0 ${width} ${height}`, "font-family": page.ink("--font"), "aria-hidden": "true",
  }, clip, frame, inside);
  box.querySelector("svg")?.remove();
  box.prepend(picture);
};

page.seriesOf = (one, x, y) => {
  const made = page.svg("g", { class: "series" });
  const at = (point, value = point.y) => `${x.at(point.x).toFixed(1)},${y.at(value).toFixed(1)}`;
  if (one.band) {
    const ends = [...one.points.map((point) => at(point, point.ends[0])), ...one.points.map((point) => at(point, point.ends[1])).reverse()];
    made.append(page.svg("polygon", { points: ends.join(" "), fill: one.colour, opacity: 0.14 }));
  }
  if (one.width) {
    made.append(page.svg("polyline", {
      points: one.points.map((point) => at(point)).join(" "), fill: "none", stroke: one.colour, "stroke-width": one.width,
      "stroke-dasharray": one.dashes ?? "none", "stroke-linejoin": "round",
    }));
  }
  for (const point of one.points) {
    const place = [x.at(point.x), y.at(point.y)];
    if (point.ends && !one.band) {
      const [low, high] = point.ends.map((end) => y.at(end).toFixed(1));
      const [start, end] = [place[0] - 3, place[0] + 3].map((value) => value.toFixed(1));
      made.append(page.svg("path", {
        class: "interval", d: `M${start} ${low}H${end}M${start} ${high}H${end}M${place[0].toFixed(1)} ${low}V${high}`, stroke: one.colour, fill: "none",
      }));
    }
    if (one.marker) made.append(page.marker(one.marker, ...place, one.colour, one.filled));
  }
  return made;
};

// Hover, click, a rectangle that is dragged to zoom, a double click that shows everything again.
page.listenToChart = (box) => {
  const tip = page.make("div", { className: "tip", hidden: true });
  const rectangle = page.make("div", { className: "rectangle", hidden: true });
  const save = page.make("button", { type: "button", className: "save", textContent: "SVG", title: "Save the chart as an SVG file" });
  box.append(tip, rectangle, save);
  let from = null;
  const inBox = (event) => {
    const { left, top } = box.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const nearest = (event) => {
    const place = inBox(event);
    let best = { away: 24 };
    for (const one of box.chart.series) {
      for (const point of one.points) {
        const [x, y] = box.chart.place(point.x, point.y);
        const away = Math.hypot(x - place[0], y - place[1]);
        if (point.hover && away <= best.away) best = { away, point, x, y };
      }
    }
    return best.point ? best : null;
  };
  const show = (event) => {
    const found = from ? null : nearest(event);
    tip.hidden = !found;
    box.style.cursor = found && found.point.number !== undefined ? "pointer" : "";
    if (!found) return;
    const [title, ...lines] = found.point.hover;
    tip.replaceChildren(page.make("strong", { textContent: title }), ...lines.map((line) => page.make("div", { textContent: line })));
    // Beside the point; above or below it where there is no room beside.
    const [right, narrow] = [found.x > box.clientWidth / 2, page.narrow.matches];
    const low = narrow && found.y > box.clientHeight / 2;
    tip.style.left = narrow ? "0" : right ? "" : `${found.x + 14}px`;
    tip.style.right = narrow ? "" : right ? `${box.clientWidth - found.x + 14}px` : "";
    const top = !narrow ? found.y - 20 : low ? found.y - tip.offsetHeight - 16 : found.y + 16;
    tip.style.top = `${Math.max(0, Math.min(top, box.clientHeight - tip.offsetHeight))}px`;
  };
  box.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0 && event.target !== save) from = inBox(event);
  });
  box.addEventListener("pointermove", (event) => {
    const to = inBox(event);
    if (!event.buttons) from = null;
    const wide = from && Math.abs(to[0] - from[0]) > 6 && Math.abs(to[1] - from[1]) > 6;
    rectangle.hidden = !wide;
    if (wide) {
      box.setPointerCapture(event.pointerId);
      Object.assign(rectangle.style, {
        left: `${Math.min(from[0], to[0])}px`, top: `${Math.min(from[1], to[1])}px`,
        width: `${Math.abs(to[0] - from[0])}px`, height: `${Math.abs(to[1] - from[1])}px`,
      });
    }
    show(event);
  });
  box.addEventListener("pointerup", (event) => {
    const zoomed = from && !rectangle.hidden;
    const ends = zoomed && [box.chart.back(...from), box.chart.back(...inBox(event))];
    from = null;
    rectangle.hidden = true;
    if (zoomed) {
      const sorted = [0, 1].map((axis) => ends.map((end) => end[axis]).sort((one, other) => one - other));
      box.chart.zoom = { x: { range: sorted[0] }, y: { range: sorted[1] } };
      page.render(box);
      return;
    }
    const found = event.target === save ? null : nearest(event);
    if (found && found.point.number !== undefined) box.chart.open(found.point.number);
  });
  box.addEventListener("pointerleave", () => { tip.hidden = true; });
  box.addEventListener("dblclick", () => {
    box.chart.zoom = null;
    page.render(box);
  });
  save.addEventListener("click", () => {
    const drawn = box.querySelector("svg").cloneNode(true);
    drawn.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const address = URL.createObjectURL(new Blob([drawn.outerHTML], { type: "image/svg+xml" }));
    page.make("a", { href: address, download: `${page.data.dataset}-${box.id}.svg` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
};
