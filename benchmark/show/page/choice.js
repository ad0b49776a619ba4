// Choices of the viewer: codecs matched by rate, and the list of a point's images.
"use strict";

page.choice = { sort: null, down: false };

page.MOST_PANES = 4;

// The content of a pane for a point and image: its picture, or the reason why there is none.
page.slot = (point, at) => {
  const stored = point.pictures[at];
  const shown = typeof stored === "string";
  return {
    point, at, image: point.images[at],
    picture: shown ? stored : null, absent: shown ? "" : page.data.absent[stored],
  };
};

// The clicked point first, then the chosen codecs, each at its rate nearest to the clicked one's.
page.slots = (point, image, codecs) => {
  const at = point.images.indexOf(image);
  const first = page.slot(point, at);
  const others = codecs
    .filter((codec) => codec !== point.codec)
    .map((codec) => page.nearest(codec, image, point.image_bpp[at]))
    .filter(Boolean)
    .map((one) => page.slot(one.point, one.at));
  return [first, ...others].slice(0, page.MOST_PANES);
};

// The metrics that a line has room for: the one of the curves, then those that rank codecs.
page.leads = () => [...new Set([page.curves.metric, ...page.data.leads])].map(page.measure).filter(Boolean);

// The caption of a pane: codec, setting, rate (and how far from the clicked one's), numbers.
page.describe = (slot, bpp) => {
  const own = slot.point.image_bpp[slot.at];
  const ratio = own / bpp;
  const away = Math.abs(ratio - 1) < 0.0005 ? "" : ` (×${ratio.toFixed(2)})`;
  const measures = page.leads().filter((one) => one.by_image && slot.point.image_values[one.column][slot.at] !== null);
  return [
    page.make("strong", {}, page.swatch(page.allCodecs()[slot.point.codec]),
      page.make("span", { textContent: page.titleOf(slot.point) })),
    page.make("span", {
      className: !page.close(own, bpp) ? "numbers far" : "numbers",
      title: away && "times the rate of the first one", textContent: `${page.rate(own)} bpp${away}`,
    }),
    ...measures.map((one) => page.make("span", {
      className: "numbers", textContent: page.reading(one, slot.point.image_values[one.column][slot.at]),
    })),
  ];
};

// Codecs in the legend and those beside the point; the others are found by their names.
page.codecChips = (box, point, image, chosen, toggled) => {
  const bpp = point.image_bpp[point.images.indexOf(image)];
  const full = chosen.length >= page.MOST_PANES;
  const listed = page.allCodecs().filter((one) => chosen.includes(one.place) || page.shown.keys.includes(one.key));
  box.replaceChildren(...listed.map((one) => {
    const { place } = one;
    const found = place === point.codec ? { point } : page.nearest(place, image, bpp);
    const pressed = chosen.includes(place);
    const pictured = place === point.codec || typeof found?.point.pictures[found.at] === "string";
    const chip = page.make(
      "button",
      {
        type: "button", className: pictured ? "chip" : "chip unshown", "aria-pressed": String(pressed), "data-codec": String(place),
        disabled: place === point.codec || !found || (full && !pressed),
        title: place === point.codec ? "the point that was opened"
          : found ? `nearest rate: ${found.point.setting}` : "it has no stream of this image",
      },
      page.swatch(one), page.make("span", { textContent: one.name })
    );
    chip.addEventListener("click", () => toggled(place));
    return chip;
  }));
};

// One row per image: its numbers, and a button that shows it. Headers sort.
page.imageTable = (table, point, image, chosen) => {
  const measures = page.leads().filter((one) =>
    one.by_image && point.image_values[one.column].some((value) => value !== null));
  const rows = point.images.map((number, at) => ({
    number,
    name: page.data.images[number].name,
    shown: typeof point.pictures[at] === "string",
    values: [point.image_bpp[at], ...measures.map((one) => page.value(point.image_values[one.column][at]))],
    texts: [
      page.rate(point.image_bpp[at]),
      ...measures.map((one) => page.text(one, point.image_values[one.column][at])),
    ],
  }));
  const { sort, down } = page.choice;
  const key = (row) => (sort === null ? row.name : row.values[sort] ?? -Infinity);
  rows.sort((one, other) => (key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : 0) * (down ? -1 : 1));
  const header = (text, place) => {
    const button = page.make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => {
      page.choice.down = page.choice.sort === place ? !page.choice.down : false;
      page.choice.sort = place;
      page.imageTable(table, point, image, chosen);
      [...table.tHead.rows[0].cells][place === null ? 0 : place + 1].querySelector("button").focus();
    });
    const order = sort !== place ? "none" : down ? "descending" : "ascending";
    return page.make("th", { scope: "col", className: place === null ? "text" : "number", "aria-sort": order }, button);
  };
  const heads = ["bpp", ...measures.map((one) => one.label)].map((text, place) => header(text, place));
  const body = rows.map((row) => {
    const button = page.make("button", {
      type: "button", "data-image": String(row.number), textContent: row.name,
      title: row.shown ? row.name : `${row.name}: no picture in this page`,
    });
    button.addEventListener("click", () => chosen(row.number));
    const now = row.number === image;
    if (now) button.setAttribute("aria-current", "true");
    return page.make("tr", { className: `${now ? "now" : ""} ${row.shown ? "" : "unshown"}` },
      page.make("th", { scope: "row", className: "text" }, button),
      ...row.texts.map((text) => page.make("td", { className: "number", textContent: text })));
  });
  table.replaceChildren(
    page.make("caption", { className: "unseen", textContent: `Images of ${page.titleOf(point)}` }),
    page.make("thead", {}, page.make("tr", {}, header("image", null), ...heads)),
    page.make("tbody", {}, ...body)
  );
  return rows.map((row) => row.number);
};
