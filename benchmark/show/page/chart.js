// The chart as SVG: axes, curves, and points that are links and show their numbers.
"use strict";

page.colour = (style) => `light-dark(${style.colour}, ${style.colour_dark})`;

page.marker = (style, x, y, filled) => page.svg("path", {
  class: "marker", d: style.marker, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
  fill: filled ? page.colour(style) : "var(--page)", stroke: page.colour(style),
});

page.dashes = (one) => (one.published?.sampled ? "2 3" : one.style.dashes || "none");

// A line with the marker of a curve.
page.swatch = (one) => page.svg("svg", { viewBox: "0 0 28 14", width: 28, height: 14, "aria-hidden": "true" },
  page.svg("path", { d: "M1 7H27", stroke: page.colour(one.style), "stroke-width": 1.8, "stroke-dasharray": page.dashes(one) }),
  ...(one.published?.sampled ? [] : [page.marker(one.style, 14, 7, !one.published)]));

// The range from lowest to highest with a margin, linear or logarithmic.
page.room = (values, share, logarithmic = false) => {
  const known = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  if (!known.length) return logarithmic ? [0.1, 1] : [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (logarithmic) return [low / (1 + share), high * (1 + share)];
  const margin = share * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
};

// Numbers on an axis: round ones, or 1, 2 and 5 times powers of ten over a wide logarithmic range.
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
  return (value) => from + ((bend(value) - bend(low)) * (to - from)) / (bend(high) - bend(low));
};

// Draw {x, y, series}; an axis is {title, range, log}, a series {name, style, dashes, width, filled,
// marked, band, points}, a point {x, y, ends, hover, href}.
page.plot = (box, chart) => {
  const { clientWidth: width, clientHeight: height } = box;
  const texts = (axis) => page.ticks(axis.range, axis.log).map((value) => [value, page.signed(String(+value.toPrecision(6)))]);
  const labels = { x: texts(chart.x), y: texts(chart.y) };
  const [left, right, top, bottom] = [34 + 7 * Math.max(1, ...labels.y.map(([, text]) => text.length)), width - 10, 10, height - 44];
  if (right <= left || bottom <= top) return;
  const [x, y] = [page.scale(chart.x, left, right), page.scale(chart.y, bottom, top)];
  box.chart = { ...chart, place: (one, other) => [x(one), y(other)] };
  const text = (content, attributes) => page.svg("text", attributes, content);
  const picture = page.svg("svg", { viewBox: `0 0 ${width} ${height}` },
    page.svg("clipPath", { id: "inside" },
      page.svg("rect", { x: left, y: top - 6, width: right - left, height: bottom - top + 6 })),
    ...labels.x.flatMap(([value, label]) => [
      page.svg("path", { class: "grid", d: `M${x(value)} ${top}V${bottom}` }), text(label, { x: x(value), y: bottom + 17 })]),
    ...labels.y.flatMap(([value, label]) => [
      page.svg("path", { class: "grid", d: `M${left} ${y(value)}H${right}` }), text(label, { class: "number", x: left - 7, y: y(value) + 4 })]),
    page.svg("path", { class: "axes", d: `M${left} ${top}V${bottom}H${right}` }),
    text(chart.x.title, { class: "title xtitle", x: (left + right) / 2, y: height - 8 }),
    text(chart.y.title, { class: "title", transform: `translate(14 ${(top + bottom) / 2}) rotate(-90)` }),
    page.svg("g", { "clip-path": "url(#inside)" }, ...chart.series.map((one) => page.seriesOf(one, x, y))));
  box.querySelector("svg")?.remove();
  box.prepend(picture);
};

page.seriesOf = (one, x, y) => {
  const { points } = one;
  const colour = page.colour(one.style);
  const at = (point, value = point.y) => `${x(point.x).toFixed(1)},${y(value).toFixed(1)}`;
  const ends = (low) => points.map((point) => at(point, point.ends[low]));
  return page.svg("g", { class: "series", stroke: colour },
    ...(one.band ? [page.svg("polygon", { class: "band", points: [...ends(0), ...ends(1).reverse()].join(" "), fill: colour })] : []),
    page.svg("polyline", { points: points.map((point) => at(point)).join(" "), "stroke-width": one.width, "stroke-dasharray": one.dashes }),
    ...points.map((point) => {
      const [low, high] = (point.ends || []).map((end) => y(end).toFixed(1));
      const made = page.svg("a", { class: "point", "aria-label": point.hover.join(", "), ...(point.href && { href: point.href }) },
        ...(low && !one.band ? [page.svg("path", { class: "interval", d: `M${x(point.x).toFixed(1)} ${low}V${high}m-3 0h6M${x(point.x).toFixed(1)} ${low}m-3 0h6` })] : []),
        ...(one.marked ? [page.marker(one.style, x(point.x), y(point.y), one.filled)] : []),
        page.svg("circle", { class: "ring", cx: x(point.x), cy: y(point.y), r: 10 }));
      return Object.assign(made, { point });
    }));
};

// Show a point's numbers next to it, or above or below if there is no room, while the mouse or the
// keyboard focus is on it.
page.listenToChart = (box, tip) => {
  const show = (event) => {
    const on = event.target.closest?.(".point");
    tip.hidden = !on;
    if (!on) return;
    const [title, ...lines] = on.point.hover;
    tip.replaceChildren(page.make("strong", { textContent: title }), ...lines.map((line) => page.make("div", { textContent: line })));
    const [x, y] = box.chart.place(on.point.x, on.point.y);
    const narrow = page.narrow.matches;
    const top = !narrow ? y - 20 : y > box.clientHeight / 2 ? y - tip.offsetHeight - 16 : y + 16;
    Object.assign(tip.style, {
      left: narrow ? "0" : x > box.clientWidth / 2 ? "" : `${x + 14}px`,
      right: narrow || x <= box.clientWidth / 2 ? "" : `${box.clientWidth - x + 14}px`,
      top: `${Math.max(0, Math.min(top, box.clientHeight - tip.offsetHeight))}px`,
    });
  };
  for (const kind of ["pointerover", "focusin"]) box.addEventListener(kind, show);
  for (const kind of ["pointerleave", "focusout"]) box.addEventListener(kind, () => { tip.hidden = true; });
};
