// Rate curves: one metric at a time; each measured point opens its pictures.
"use strict";

page.curves = {
  metric: page.data.measures[0]?.column,
  chosen: null, // the point that the keyboard is on
  asked: false, // about intervals; until then distribution metrics have them, as in figures
};

page.curves.drawnPoints = (codec) => {
  const column = page.curves.metric;
  return page.sweep(codec)
    .filter((point) => point.means[column].place !== undefined)
    .sort((one, other) => one.means[column].bpp - other.means[column].bpp);
};

// Curves in the legend that are switched on.
page.curves.visible = () => page.listed().filter((one) => !page.shown.hidden.has(one.key));

page.curves.codecs = () => page.curves.visible().filter((one) => !one.published).map((one) => one.place);

page.curves.hover = (point, measure) => {
  const codec = page.data.codecs[point.codec];
  const mean = point.means[measure.column];
  const lines = [
    page.titleOf(point),
    `${page.rate(mean.bpp)} bpp, ${page.text(measure, mean.value)}${page.unit(measure)}, ${page.images(mean.images)}`,
  ];
  if (mean.interval) {
    const [low, high] = mean.interval.map((end) => page.text(measure, end));
    lines.push(`${Math.round(100 * page.data.confidence)} % interval: ${low} to ${high}`);
  }
  const remarks = [...codec.caveats, ...(codec.bundled || codec.recorded ? ["bundled"] : [])].join("; ");
  return [...lines, codec.version, ...(remarks ? [remarks] : [])]; // at most five lines
};

page.curves.publishedHover = (curve, point, measure) => [
  `${curve.name} ${point.setting}`.trim(),
  `${page.rate(point.bpp)} bpp, ${page.text(measure, point.value)}` +
    `${point.value_error ? ` ± ${point.value_error}` : ""}${page.unit(measure)}`,
  `${curve.how}: ${curve.source}`,
  [`${curve.protocol}${curve.other_rule ? " (another rule)" : ""}`, point.rate_protocol, point.note].filter(Boolean).join("; "),
];

page.curves.series = (one, measure) => {
  const base = { name: one.name, colour: page.colour(one.style), marker: one.style.marker, filled: !one.published };
  if (one.published) {
    const { points, sampled } = one.published;
    return {
      ...base, width: 1.3, dashes: page.dashes(one), marker: sampled ? null : base.marker,
      band: sampled && points.every((point) => point.error),
      points: points.map((point) => ({
        x: point.bpp, y: point.place, ends: point.error, hover: page.curves.publishedHover(one.published, point, measure),
      })),
    };
  }
  const bars = page.by("intervals").checked;
  return {
    ...base, width: one.style.own ? 2.6 : 1.8,
    points: page.curves.drawnPoints(one.place).map((point) => {
      const mean = point.means[measure.column];
      return {
        x: mean.bpp, y: mean.place, ends: (bars && mean.ends) || null,
        hover: page.curves.hover(point, measure), number: page.data.points.indexOf(point),
      };
    }),
  };
};

// Ranges of the points below the highest rate of papers' comparisons, if there are any.
page.curves.ranges = (series) => {
  const every = series.flatMap((one) => one.points);
  const most = page.data.most_bpp ?? Infinity;
  const inside = every.filter((one) => one.x <= most);
  const seen = inside.length ? inside : every;
  const places = seen.map((one) => one.y);
  const values = [...places, ...seen.flatMap((one) => one.ends ?? [])];
  const rates = seen.map((one) => one.x);
  return { rates, places, values, beyond: every.map((one) => one.x).filter((x) => x > Math.max(...rates)) };
};

page.curves.caption = (measure) => {
  const { data } = page;
  const visible = page.curves.visible();
  const codecs = page.curves.codecs();
  const counts = [...new Set(codecs.flatMap((place) => page.curves.drawnPoints(place)).map((point) => point.means[measure.column].images))].sort();
  const parts = [
    `${data.title}: ${measure.by_image ? "means over" : "one value of the whole set of"} ${counts.join(" or ") || 0} image${counts.at(-1) === 1 ? "" : "s"}.`,
  ];
  if (measure.saturating) parts.push(`Drawn as −10 log10(1 − ${page.nameOf(measure)}).`);
  if (page.by("intervals").checked) parts.push(`Bars: ${Math.round(100 * data.confidence)} % intervals over images.`);
  if (!measure.by_image && Math.min(...counts) < data.few_images) {
    parts.push(`Over fewer than ${data.few_images} images, where such metrics are biased.`);
  }
  if (codecs.some((place) => data.codecs[place].bundled && !data.codecs[place].name.includes("bundled"))) {
    parts.push(`${visible.some((one) => one.published) ? "Unmarked" : "All"} results are bundled with the project.`);
  }
  const caveats = codecs.flatMap((place) => data.codecs[place].caveats.map((caveat) => caveat.split("; ")));
  const every = [...new Set(caveats.flat())];
  const common = every.filter((part) => caveats.every((other) => other.includes(part)));
  const words = (common.length ? common : every).join("; ");
  if (caveats.length) parts.push(`* ${words.length > data.most_caveat ? "a caveat: see the details" : words}.`);
  if (visible.some((one) => one.published?.other_rule)) parts.push("Protocols mixed: see the details.");
  return parts.join(" ");
};

page.curves.draw = () => {
  const measure = page.measure(page.curves.metric);
  if (!measure) return;
  if (!page.curves.asked) page.by("intervals").checked = !measure.by_image;
  const series = page.curves.visible().map((one) => page.curves.series(one, measure)).reverse();
  const { rates, places, values, beyond } = page.curves.ranges(series);
  // As in the figures: by the values alone, not by the ends of their intervals.
  const wide = measure.wide && Math.min(...places) > 0 && Math.max(...places) > 10 * Math.min(...places);
  const log = page.by("log-rate").checked;
  let [low, high] = page.room(rates, log ? 0.12 : 0.04, log);
  // So that no marker is half shown.
  if (beyond.length) high = Math.min(high, Math.sqrt(Math.max(...rates) * Math.min(...beyond)));
  const box = page.by("chart");
  const mean = page.data.points[page.curves.chosen]?.means[measure.column];
  box.setAttribute("aria-label", `${page.nameOf(measure)} against bits per pixel, ${series.length} curves`);
  page.by("curve-caption").textContent = page.curves.caption(measure);
  page.plot(box, {
    key: `${measure.column} ${log}`,
    x: { title: "Rate (bit per pixel)", log, range: log ? [low, high] : [0, high] },
    y: { title: measure.axis + (measure.better === "lower" ? " ↓" : ""), log: wide, range: page.room(wide ? places : values, wide ? 0.15 : 0.05, wide) },
    series,
    ring: mean?.place === undefined ? null : { x: mean.bpp, y: mean.place },
    open: (point) => page.curves.open(point, box),
  });
};

page.curves.open = (point, from) => {
  page.curves.chosen = point;
  page.curves.draw();
  page.viewer.open(point, null, null, from);
};

// Keyboard moves along a curve and to the point nearest in rate on the next one.
page.curves.step = (key) => {
  const codecs = page.curves.codecs();
  if (!codecs.length) return;
  let point = page.data.points[page.curves.chosen];
  if (!point || !codecs.includes(point.codec)) {
    point = page.curves.drawnPoints(codecs[0])[0];
  } else if (key === "ArrowLeft" || key === "ArrowRight") {
    const sweep = page.curves.drawnPoints(point.codec);
    const at = sweep.indexOf(point) + (key === "ArrowRight" ? 1 : -1);
    point = sweep[Math.max(0, Math.min(sweep.length - 1, at))];
  } else {
    const at = codecs.indexOf(point.codec) + (key === "ArrowDown" ? 1 : -1);
    const away = (one) => Math.abs(Math.log(one.bpp / point.bpp));
    const sweep = page.curves.drawnPoints(codecs[(at + codecs.length) % codecs.length]);
    point = sweep.reduce((best, one) => (away(one) < away(best) ? one : best));
  }
  const measure = page.measure(page.curves.metric);
  const mean = point.means[measure.column];
  page.curves.chosen = page.data.points.indexOf(point);
  page.by("chart-status").textContent =
    `${page.titleOf(point)}: ${page.rate(mean.bpp)} bpp, ${page.nameOf(measure)} ${page.text(measure, mean.value)}`;
  page.curves.draw();
};

// Draw the curves of another metric.
page.curves.choose = (column) => {
  page.curves.metric = column;
  for (const radio of document.querySelectorAll("#metric-choice input")) radio.checked = radio.value === column;
  const more = page.by("more-metrics");
  more.value = column;
  if (more.selectedIndex < 0) more.value = "";
  page.legend();
  page.curves.draw();
};

// Tell the styles where the chart begins, below headings and controls of one line or more.
page.curves.makeRoom = () => {
  const top = page.by("chart").getBoundingClientRect().top + window.scrollY;
  document.documentElement.style.setProperty("--above-chart", `${Math.ceil(top)}px`);
};

// Let the keyboard move on a chart and open where it is.
page.listenToArrows = (box, keys, step, open) =>
  box.addEventListener("keydown", (event) => {
    if (event.target !== box) return;
    if (keys.includes(event.key)) step(event.key);
    else if (event.key === "Enter") open();
    else return;
    event.preventDefault();
  });

page.curves.start = () => {
  const { data } = page;
  const box = page.by("chart");
  page.by("log-rate").checked = !data.linear_rate;
  const known = [...data.tabs, ...data.measures.map((one) => one.column).filter((column) => !data.tabs.includes(column))];
  const choices = known.map((column) => [column, page.measure(column).label]);
  const most = Math.max(data.tabs.length, 1);
  page.segments(page.by("metric-choice"), "metric", choices.slice(0, most), page.curves.metric, page.curves.choose);
  const more = page.by("more-metrics");
  more.hidden = choices.length <= most;
  page.fill(more, [["", "More metrics"], ...choices.slice(most)], "");
  more.addEventListener("change", () => more.value && page.curves.choose(more.value));
  page.by("log-rate").addEventListener("change", page.curves.draw);
  page.by("intervals").addEventListener("change", () => {
    page.curves.asked = true;
    page.curves.draw();
  });
  page.listenToArrows(box, ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], page.curves.step,
    () => page.curves.chosen !== null && page.curves.open(page.curves.chosen, box));
  page.curves.makeRoom();
  window.addEventListener("resize", page.curves.makeRoom);
  page.startLegend();
  page.changed();
};
