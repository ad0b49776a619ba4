// Lookups in the page's data, numbers as text, elements.
"use strict";
const page = {};

page.data = JSON.parse(document.getElementById("page-data").textContent);

page.measure = (column) => page.data.measures.find((one) => one.column === column);

page.value = (stored) => (stored === "inf" ? Infinity : stored === "-inf" ? -Infinity : stored);

// The place of a value on the axis, as in the figures.
page.place = (measure, value) => {
  if (!measure.saturating) return value;
  return value < 1 ? -10 * Math.log10(1 - value) : Infinity;
};

// Fill in what the data omits from means: the point's rate and count, and places on the axis.
for (const point of page.data.points) {
  for (const measure of page.data.measures) {
    const mean = point.means[measure.column];
    mean.bpp ??= point.bpp;
    mean.images ??= point.count;
    const place = mean.value === null || mean.excluded ? NaN : page.place(measure, page.value(mean.value));
    if (Number.isFinite(place)) mean.place = place;
    const ends = mean.interval?.map((end) => page.place(measure, page.value(end))).sort((one, other) => one - other);
    mean.ends = ends?.every(Number.isFinite) ? ends : null;
  }
}

page.signed = (text) => text.replace(/^-(?=[0.]*$)/, "").replace("-", "−");

page.text = (measure, stored) => {
  const value = page.value(stored);
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return page.signed(value.toFixed(measure.decimals));
};

page.rate = (bpp) => (bpp === null ? "–" : bpp.toFixed(bpp < 0.1 ? 4 : 3));

// A value of a metric with its name and unit.
page.reading = (measure, value) => `${measure.name} ${page.text(measure, value)}${measure.unit}`;

page.titleOf = (point) => `${page.data.codecs[point.codec].name} ${point.setting}`;

page.images = (count) => `${count} ${count === 1 ? "image" : "images"}`;

// Points of a codec that have a rate, lowest first.
page.sweep = (codec) =>
  page.data.points
    .filter((point) => point.codec === codec && point.bpp !== null)
    .sort((one, other) => one.bpp - other.bpp);

// Whether two rates count as the same, by the tolerance of the figures (compare/pictures.py).
page.close = (bpp, rate) => Math.abs(Math.log(bpp / rate)) <= Math.log(page.data.close);

page.pictured = (point, at) => typeof point.pictures[at] === "string";

// The codec's point whose rate of this image is nearest by ratio, among those with its picture if
// these show the codec near the rate (compare/pictures.py); null if no point has the image.
page.nearest = (codec, image, bpp) => {
  const found = page.sweep(codec)
    .map((point) => ({ point, at: point.images.indexOf(image) }))
    .filter((one) => one.at >= 0);
  const away = (one) => Math.abs(Math.log(one.point.image_bpp[one.at] / bpp));
  const shown = found.filter((one) => page.pictured(one.point, one.at));
  const rates = shown.map((one) => one.point.image_bpp[one.at]);
  const near = rates.some((one) => page.close(one, bpp)) || (Math.min(...rates) <= bpp && bpp <= Math.max(...rates));
  const candidates = (near ? shown : found).map((one) => ({ ...one, near }));
  return candidates.reduce((best, one) => (!best || away(one) < away(best) ? one : best), null);
};

page.by = (id) => document.getElementById(id);

page.assign = (made, properties, children) => {
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && !(made instanceof SVGElement)) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

// An element with properties or attributes and children.
page.make = (tag, properties = {}, ...children) =>
  page.assign(document.createElement(tag), properties, children);

page.svg = (tag, attributes = {}, ...children) =>
  page.assign(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// Radio buttons that look like a single bar; `choices` are [value, label].
page.segments = (fieldset, name, choices, change) => {
  for (const [value, label] of choices) {
    const radio = page.make("input", { type: "radio", name, value });
    radio.addEventListener("change", () => change(value));
    fieldset.append(page.make("label", {}, radio, page.make("span", { textContent: label })));
  }
};

page.press = (fieldset, value) => {
  for (const radio of fieldset.querySelectorAll("input")) radio.checked = radio.value === value;
};

// A codec or a published curve as an entry of `page.choices`.
page.entry = (curve, key, place = null) => ({
  key, place, style: curve, published: place === null ? curve : null,
  name: curve.name + (curve.caveats?.length ? "*" : ""),
  detail: place === null ? `${curve.how}: ${curve.source}; ${curve.points[0].reference}; ${curve.protocol}`
    : [curve.version, ...curve.caveats].join("; "),
});

page.codecs = page.data.codecs.map((codec, place) => page.entry(codec, `codec ${place}`, place));

// Check boxes of entries, in groups [heading, entries]; those with a heading are folded. `change`
// is called with an entry and whether it is checked.
page.choices = (box, groups, change) => {
  const choice = (one) => {
    const input = page.make("input", { type: "checkbox", value: one.key, checked: one.checked, disabled: one.disabled ?? false });
    input.addEventListener("change", () => change(one, input.checked));
    // A name is broken into lines between its parts, not inside a word.
    const name = one.name.split(/(?<=[:=/_])/).flatMap((part) => [document.createElement("wbr"), part]);
    return page.make("label", { className: one.unshown ? "unshown" : "", title: one.detail }, input, page.swatch(one), page.make("span", {}, ...name));
  };
  box.replaceChildren(...groups.filter(([, entries]) => entries.length).flatMap(([heading, entries]) => heading
    ? [page.make("details", {}, page.make("summary", { textContent: `${entries.length} ${heading}` }), ...entries.map(choice))]
    : entries.map(choice)));
};
