// The legend: a small drawing of each curve's style, and switches for the curves.
"use strict";

// Corners of markers on a circle of radius 1, as [how many, turned by, inner radius].
page.corners = {
  circle: [24, 0], square: [4, 45], diamond: [4, 0], "diamond-tall": [4, 0], hexagon: [6, 0],
  hexagon2: [6, 30], octagon: [8, 22.5], pentagon: [5, 0], star: [5, 0, 0.45],
  "triangle-up": [3, 0], "triangle-down": [3, 180], "triangle-left": [3, -90],
  "triangle-right": [3, 90], cross: [4, 0, 0.5], x: [4, 45, 0.5], "x-thin": [4, 45, 0.12],
};

page.outline = (symbol, x, y, radius) => {
  const [count, turn, inner] = page.corners[symbol];
  const steps = inner ? 2 * count : count;
  const flat = symbol === "diamond-tall" ? 0.6 : 1;
  return Array.from({ length: steps }, (_, step) => {
    const reach = inner && step % 2 ? radius * inner : radius;
    const angle = ((turn + (360 * step) / steps) * Math.PI) / 180;
    return `${(x + flat * reach * Math.sin(angle)).toFixed(2)},${(y - reach * Math.cos(angle)).toFixed(2)}`;
  }).join(" ");
};

// Where a curve's points come from, as its markers say; a precomputed marker is a ring with a dot.
page.origin = (codec) => (codec.recorded ? "precomputed" : "measured");

// Plotly's marker; one that is not filled has the page's colour inside, so that it hides the line.
page.marker = ({ symbol }, origin, colour, size, width) => {
  const thin = symbol === "x-thin"; // lines alone, with nothing to fill
  return {
    symbol: thin ? "x-thin-open" : symbol + (origin === "precomputed" ? "-dot" : ""),
    size, color: thin || origin === "measured" ? colour : page.ink("--page"),
    line: { width, color: colour },
  };
};

// A line with a marker that is filled, open with a dot or open; dashed for published curves.
page.swatch = (style, { origin = "measured", dashes = "", marker = true } = {}) => {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const colour = page.colour(style);
  const put = (tag, attributes) => {
    const made = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    picture.append(made);
  };
  for (const [name, value] of Object.entries({ viewBox: "0 0 28 14", width: 28, height: 14 })) {
    picture.setAttribute(name, value);
  }
  picture.setAttribute("aria-hidden", "true");
  put("line", {
    x1: 1, x2: 27, y1: 7, y2: 7, stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dashes,
  });
  if (marker) {
    put("polygon", {
      points: page.outline(style.symbol, 14, 7, style.symbol === "star" ? 6.4 : 4.8),
      fill: origin === "measured" ? colour : "var(--page)", stroke: colour, "stroke-width": 1.4,
    });
    if (origin === "precomputed") put("circle", { cx: 14, cy: 7, r: 1.4, fill: colour });
  }
  return picture;
};

page.drawing = {
  codec: (codec) => ({ origin: page.origin(codec) }),
  published: (curve) => ({
    origin: "published", dashes: curve.sampled ? "6 2 1 2" : "3 2", marker: !curve.sampled,
  }),
};

// A name that is broken into lines where its parts meet, not inside a word.
page.breakable = (name) =>
  name.split(/(?<=[:=/_])/).flatMap((part) => [document.createElement("wbr"), part]);

// A switch for each curve, and one for all; `curves` are {key, name, style, drawing, detail}.
page.legend = (box, groups, hidden, changed) => {
  box.replaceChildren();
  const redraw = () => {
    for (const button of box.querySelectorAll("button[data-key]")) {
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.key)));
    }
    changed();
  };
  for (const [heading, curves] of groups) {
    if (!curves.length) continue;
    const every = page.make("button", {
      type: "button", className: "all", textContent: "all",
      title: "Show all, or none", "aria-label": `${heading}: show all, or none`,
    });
    every.addEventListener("click", () => {
      const some = curves.some((curve) => hidden.has(curve.key));
      for (const curve of curves) some ? hidden.delete(curve.key) : hidden.add(curve.key);
      redraw();
    });
    const list = page.make("div", { className: "legend-list" });
    for (const curve of curves) {
      const button = page.make(
        "button",
        {
          type: "button", className: "legend-entry", title: curve.detail,
          "data-key": curve.key, "aria-pressed": String(!hidden.has(curve.key)),
        },
        page.swatch(curve.style, curve.drawing),
        page.make("span", {}, ...page.breakable(curve.name))
      );
      button.addEventListener("click", (event) => {
        if (event.shiftKey) {
          for (const other of curves) hidden.add(other.key);
          hidden.delete(curve.key);
        } else if (hidden.has(curve.key)) hidden.delete(curve.key);
        else hidden.add(curve.key);
        redraw();
      });
      list.append(button);
    }
    box.append(
      page.make("div", { className: "legend-group" },
        page.make("h3", {}, page.make("span", { textContent: heading }), every), list)
    );
  }
};
