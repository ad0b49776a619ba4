// Which curves are shown: the legend, its switches, and a search field for the other curves.
"use strict";

// Keys of the curves in the legend, in order, and those of them that are switched off.
page.shown = { keys: [], hidden: new Set() };

page.allCodecs = () => page.data.codecs.map((codec, place) => ({
  key: `codec ${place}`, place, name: [codec.name, ...codec.alike].join(" = ") + (codec.caveats.length ? "*" : ""), style: codec,
  published: null, detail: [codec.version, ...codec.caveats].join("; "), words: `${codec.name} ${codec.label}`,
}));

// Every curve of the metric: codecs that have one, then published curves.
page.allCurves = () => [
  ...page.allCodecs().filter((one) => page.curves.drawnPoints(one.place).length),
  ...page.data.published[page.curves.metric].map((curve) => ({
    key: `published ${curve.name}`, name: curve.name, style: curve, published: curve,
    detail: `${curve.how}: ${curve.source}; ${curve.points[0].reference}; ${curve.protocol}`, words: curve.name,
  })),
];

// The curves of the metric that are in the legend, in its order.
page.listed = () => {
  const every = new Map(page.allCurves().map((one) => [one.key, one]));
  return page.shown.keys.map((key) => every.get(key)).filter(Boolean);
};

page.dashes = (one) => (!one.published ? undefined : one.published.sampled ? "6 2 1 2" : "4 3");

// A line with the marker of a curve.
page.swatch = (one) => {
  const colour = page.colour(one.style);
  const picture = page.svg("svg", { viewBox: "0 0 28 14", width: 28, height: 14, "aria-hidden": "true" },
    page.svg("line", {
      x1: 1, x2: 27, y1: 7, y2: 7, stroke: colour, "stroke-width": 1.8, "stroke-dasharray": page.dashes(one) ?? "none",
    }));
  if (!one.published?.sampled) picture.append(page.marker(one.style.marker, 14, 7, colour, !one.published));
  return picture;
};

// A name that is broken into lines where its parts meet, not inside a word.
page.breakable = (name) =>
  name.split(/(?<=[:=/_])/).flatMap((part) => [document.createElement("wbr"), part]);

page.MOST_FOUND = 8;

// A search field over `candidates()`, {key, name, words, ...}; `add` is called with the chosen one.
page.finder = (box, label, candidates, add) => {
  const input = page.make("input", { type: "search", placeholder: label, autocomplete: "off", spellcheck: false, "aria-label": label });
  const list = page.make("div", { className: "found", "aria-live": "polite" });
  const take = (one) => {
    input.value = "";
    list.replaceChildren();
    add(one);
    input.focus();
  };
  const matching = () => {
    const asked = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    return asked.length ? candidates().filter((one) => asked.every((word) => one.words.toLowerCase().includes(word))) : [];
  };
  const show = () => {
    const found = matching();
    const some = found.slice(0, page.MOST_FOUND).map((one) => {
      const button = page.make("button", { type: "button", className: "legend-entry", title: one.detail ?? "" },
        page.swatch(one), page.make("span", {}, ...page.breakable(one.name)));
      button.addEventListener("click", () => take(one));
      return button;
    });
    const rest = found.length - some.length;
    const said = rest > 0 ? `and ${rest} more` : input.value.trim() && !found.length ? "No other curve has that name." : "";
    list.replaceChildren(...some, ...(said ? [page.make("p", { className: "caption", textContent: said })] : []));
  };
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    const [first] = matching();
    if (event.key === "Enter" && first) take(first);
    else if (event.key === "Escape" && input.value) {
      input.value = "";
      show();
    } else return;
    event.preventDefault();
  });
  box.replaceChildren(input, list);
};

page.legend = () => {
  const box = page.by("legend");
  const { keys, hidden } = page.shown;
  box.replaceChildren(...page.listed().map((one) => {
    const button = page.make(
      "button",
      { type: "button", className: "legend-entry", title: one.detail, "data-key": one.key, "aria-pressed": String(!hidden.has(one.key)) },
      page.swatch(one), page.make("span", {}, ...page.breakable(one.name))
    );
    button.addEventListener("click", (event) => {
      if (event.shiftKey) {
        for (const key of keys) hidden.add(key);
        hidden.delete(one.key);
      } else if (!hidden.delete(one.key)) hidden.add(one.key);
      page.changed();
      box.querySelector(`[data-key="${CSS.escape(one.key)}"]`)?.focus();
    });
    return button;
  }));
  const others = page.allCurves().filter((one) => !keys.includes(one.key));
  const published = others.filter((one) => one.published).length;
  const measured = others.length - published;
  const counted = [measured && `${measured} codecs`, published && `${published} published`].filter(Boolean).join(", ");
  page.by("find-curve").hidden = !others.length;
  page.by("find-curve").querySelector("input").placeholder = `Add ${counted}`;
  page.by("every-curve").hidden = !measured;
  page.by("every-curve").textContent = `Show all ${measured + page.listed().filter((one) => !one.published).length} codecs`;
};

// Rows of tables are of the codecs in the legend.
page.follow = () => {
  const { keys } = page.shown;
  const without = new Set(page.allCodecs().map((one) => one.key).filter((key) => !keys.includes(key)));
  for (const row of document.querySelectorAll("tr[data-codec]")) row.hidden = without.has(`codec ${row.dataset.codec}`);
  for (const note of document.querySelectorAll("[data-sign]")) {
    let table = note.previousElementSibling;
    while (!table.matches(".scroll")) table = table.previousElementSibling;
    note.hidden = ![...table.querySelectorAll("tr:not([hidden]) td")].some((cell) => cell.textContent.includes(note.dataset.sign));
  }
  for (const line of document.querySelectorAll(".follows")) {
    line.hidden = !without.size;
    line.querySelector("span").textContent = `${page.data.codecs.length - without.size} of ${page.data.codecs.length} codecs, those in the legend above.`;
  }
};

// Draw anew what depends on the curves shown.
page.changed = () => {
  page.legend();
  page.follow();
  page.curves.draw();
  page.scatter.fill();
};

page.showEvery = () => {
  const { keys } = page.shown;
  keys.push(...page.allCodecs().map((one) => one.key).filter((key) => !keys.includes(key)));
  page.changed();
};

page.startLegend = () => {
  const { shown } = page.data;
  page.shown.keys = [...shown.codecs.map((place) => `codec ${place}`), ...shown.published.map((name) => `published ${name}`)];
  page.finder(page.by("find-curve"), "Add a curve", () => page.allCurves().filter((one) => !page.shown.keys.includes(one.key)), (one) => {
    page.shown.keys.push(one.key);
    page.changed();
  });
  for (const button of document.querySelectorAll("#every-curve, .follows button")) button.addEventListener("click", page.showEvery);
};
