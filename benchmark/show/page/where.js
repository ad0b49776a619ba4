// Maps of where a decoded picture is worse, laid over it: colours, scale and legend.
"use strict";

// Files are grey: 255 times the square root of a value's share of `most`. A filter colours them,
// since a script may not read pixels of local files. All panes share one scale.
page.where = { column: page.data.maps[0]?.column ?? null };

// Colours from 0 to the scale's end, and the share of the picture that each hides.
page.where.INFERNO = [
  ["#000004", 0], ["#1b0c41", 0.45], ["#4a0c6b", 0.65], ["#781c6d", 0.75], ["#a52c60", 0.8],
  ["#cf4446", 0.85], ["#ed6925", 0.9], ["#fb9b06", 0.9], ["#f7d13d", 0.9], ["#fcffa4", 0.9],
];
page.where.STEPS = [1, 1.5, 2, 3, 5, 7, 10];

// The end of the legend, in its unit: from the upper median of the maps (metrics/maps.py).
page.where.end = (reaches, { root }) => {
  const middle = [...reaches].sort((one, other) => one - other)[Math.floor(reaches.length / 2)] ?? 0;
  const value = root ? Math.sqrt(middle) : middle;
  if (!(value > 0)) return 1;
  const decade = 10 ** Math.floor(Math.log10(value));
  return Number((page.where.STEPS.find((step) => step * decade >= value * (1 - 1e-9)) * decade).toPrecision(6));
};

// A slot's map as a layer, loaded when it is first shown. It has half of the picture's size, rounded
// up, so that each of its pixels covers two by two of the picture's.
page.where.layer = ({ point, at }, source) => {
  const [file] = point.maps[at]?.[page.where.column] ?? [];
  const twice = (side) => 2 * Math.ceil(side / 2);
  return file && page.make("img", {
    alt: "", draggable: false, decoding: "sync", width: twice(source.width), height: twice(source.height), "data-map": file,
  });
};

// Set scale, colours and legend for the maps of these slots.
page.where.show = (slots) => {
  const map = page.data.maps.find((one) => one.column === page.where.column);
  if (!map) return;
  const reaches = slots.map(({ point, at }) => point.maps[at]?.[map.column]?.[1]).filter((one) => one !== undefined);
  const end = page.where.end(reaches, map);
  const colours = page.where.INFERNO;
  const step = (name, attributes, names, functions) => page.svg("feComponentTransfer", { result: name, ...attributes },
    ...names.map((channel, at) => page.svg(`feFunc${channel}`, functions(at))));
  const table = (values) => ({ type: "table", tableValues: values.join(" ") });
  // A level is a square root, so it is linear in the legend's share if the legend is of roots too.
  const share = map.root ? { type: "linear", slope: Math.sqrt(map.most) / end } : { type: "gamma", amplitude: map.most / end, exponent: 2 };
  page.by("where-filter").replaceChildren(
    step("share", {}, ["R", "G", "B"], () => share),
    step("colours", { in: "share" }, ["R", "G", "B"], (at) => table(colours.map(([hex]) => parseInt(hex.slice(1 + 2 * at, 3 + 2 * at), 16) / 255))),
    page.svg("feColorMatrix", { in: "share", values: "0 0 0 0 0  0 0 0 0 0  0 0 0 0 0  1 0 0 0 0" }),
    step("veil", {}, ["A"], () => table(colours.map(([, hidden]) => hidden))),
    page.svg("feComposite", { in: "colours", in2: "veil", operator: "in" }));
  page.by("where-bar").style.backgroundImage = `linear-gradient(to right, ${colours.map(([hex, hidden]) =>
    hex + Math.round(255 * hidden).toString(16).padStart(2, "0")).join(", ")})`;
  page.by("where-bar").setAttribute("aria-label", `${map.label}: from 0 to ${end}`);
  page.by("where-end").textContent = `≥ ${end}`;
  page.press(page.by("where-choice"), map.column);
};

page.where.choose = (column) => {
  page.where.column = column;
  page.viewer.show(false);
};
