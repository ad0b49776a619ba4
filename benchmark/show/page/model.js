// The page's data: lookups in the json, numbers as text, elements.
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

// Fill in what the data leaves out of means: the point's rate and count, places on the axis.
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

page.text = (measure, stored) => {
  const value = page.value(stored);
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return page.signed(value.toFixed(measure.decimals));
};

page.signed = (text) => text.replace(/^-(?=[0.]*$)/, "").replace("-", "−");

page.rate = (bpp) => (bpp === null ? "–" : bpp.toFixed(bpp < 0.1 ? 4 : 3));

page.unit = (measure) => (measure.label.includes("dB") ? " dB" : "");

// A value of a metric with its name and unit.
page.reading = (measure, value) => `${page.nameOf(measure)} ${page.text(measure, value)}${page.unit(measure)}`;

page.nameOf = (measure) => measure.label.replace(" (dB)", "");

page.titleOf = (point) => `${page.data.codecs[point.codec].name} ${point.setting}`;

page.images = (count) => `${count} ${count === 1 ? "image" : "images"}`;

// Points of a codec that have a rate, lowest first.
page.sweep = (codec) =>
  page.data.points
    .filter((point) => point.codec === codec && point.bpp !== null)
    .sort((one, other) => one.bpp - other.bpp);

// Whether two rates are one, by the tolerance of the figures (compare/pictures.py).
page.close = (bpp, rate) => Math.abs(Math.log(bpp / rate)) <= Math.log(page.data.close);

// The codec's point whose rate of this image is nearest by ratio, of those that have its picture
// if these show the codec at the rate (pictures.nearest); null where no point has the image.
page.nearest = (codec, image, bpp) => {
  const found = page.sweep(codec)
    .map((point) => ({ point, at: point.images.indexOf(image) }))
    .filter((one) => one.at >= 0);
  const away = (one) => Math.abs(Math.log(one.point.image_bpp[one.at] / bpp));
  const shown = found.filter((one) => typeof one.point.pictures[one.at] === "string");
  const rates = shown.map((one) => one.point.image_bpp[one.at]);
  const near = rates.some((one) => page.close(one, bpp)) || (Math.min(...rates) <= bpp && bpp <= Math.max(...rates));
  const candidates = (near ? shown : found).map((one) => ({ ...one, near }));
  return candidates.reduce((best, one) => (!best || away(one) < away(best) ? one : best), null);
};

page.dark = window.matchMedia("(prefers-color-scheme: dark)");
page.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
page.narrow = window.matchMedia("(max-width: 760px)");

page.colour = (style) => (page.dark.matches ? style.colour_dark : style.colour);

page.by = (id) => document.getElementById(id);

// An element with properties, attributes (by name with a hyphen, or `role`) and children.
page.make = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
};

// Radio buttons that look like one bar; `choices` are [value, label].
page.segments = (fieldset, name, choices, chosen, change) => {
  for (const [value, label] of choices) {
    const radio = page.make("input", { type: "radio", name, value, checked: value === chosen });
    radio.addEventListener("change", () => change(value));
    fieldset.append(page.make("label", {}, radio, page.make("span", { textContent: label })));
  }
};

page.fill = (select, choices, chosen) => {
  select.replaceChildren(
    ...choices.map(([value, label]) =>
      page.make("option", { value, textContent: label, selected: String(value) === String(chosen) })
    )
  );
};
