// Rate curves: one metric at a time; the legend chooses curves, and points lead to their pictures.
"use strict";

page.metric = page.data.measures[0]?.column;
page.first = new Set([ // keys of the curves that are not folded
  ...page.data.shown.codecs.map((place) => `codec ${place}`), ...page.data.shown.published.map((name) => `published ${name}`),
]);
page.shown = new Set(page.first);

page.drawnPoints = (codec) =>
  page.sweep(codec)
    .filter((point) => point.means[page.metric].place !== undefined)
    .sort((one, other) => one.means[page.metric].bpp - other.means[page.metric].bpp);

// Every curve of the metric: those of codecs, then published ones.
page.entries = () => [
  ...page.codecs.filter((one) => page.drawnPoints(one.place).length),
  ...page.data.published[page.metric].map((curve) => page.entry(curve, `published ${curve.name}`)),
].map((one) => ({ ...one, checked: page.shown.has(one.key) }));

page.visible = () => page.entries().filter((one) => one.checked);

page.legend = () => {
  const entries = page.entries();
  const others = entries.filter((one) => !page.first.has(one.key));
  const first = [...page.first].map((key) => entries.find((one) => one.key === key)).filter(Boolean);
  page.choices(page.by("legend"), [
    ["", first], ["more codecs", others.filter((one) => !one.published)], ["published", others.filter((one) => one.published)],
  ], (one, checked) => {
    page.shown[checked ? "add" : "delete"](one.key);
    page.drawCurves();
  });
};

page.hover = (point, measure) => {
  const codec = page.data.codecs[point.codec];
  const mean = point.means[measure.column];
  const interval = mean.interval?.map((end) => page.text(measure, end)).join(" to ");
  const remarks = [...codec.caveats, ...(codec.bundled || codec.recorded ? ["bundled"] : [])].join("; ");
  return [ // at most five lines
    page.titleOf(point),
    `${page.rate(mean.bpp)} bpp, ${page.text(measure, mean.value)}${measure.unit}, ${page.images(mean.images)}`,
    interval && `${page.data.confidence} % interval: ${interval}`, codec.version, remarks,
  ].filter(Boolean);
};

page.publishedHover = (curve, point, measure) => [
  `${curve.name} ${point.setting}`.trim(),
  `${page.rate(point.bpp)} bpp, ${page.text(measure, point.value)}` +
    `${point.value_error ? ` ± ${point.value_error}` : ""}${measure.unit}`,
  `${curve.how}: ${curve.source}`,
  [`${curve.protocol}${curve.other_rule ? " (another rule)" : ""}`, point.rate_protocol, point.note].filter(Boolean).join("; "),
];

page.series = (one, measure) => {
  const base = { name: one.name, style: one.style, filled: !one.published, dashes: page.dashes(one) };
  if (one.published) {
    const { points, sampled } = one.published;
    return {
      ...base, width: 1.3, marked: !sampled, band: sampled && points.every((point) => point.error),
      points: points.map((point) => ({
        x: point.bpp, y: point.place, ends: point.error, hover: page.publishedHover(one.published, point, measure),
      })),
    };
  }
  return {
    ...base, width: one.style.own ? 2.6 : 1.8, marked: true,
    points: page.drawnPoints(one.place).map((point) => {
      const mean = point.means[measure.column];
      return {
        x: mean.bpp, y: mean.place, ends: !measure.by_image && mean.ends,
        hover: page.hover(point, measure), href: point.images.length ? page.linkOf(point) : "",
      };
    }),
  };
};

page.drawCurves = () => {
  const measure = page.measure(page.metric);
  if (!measure) return;
  const series = page.visible().map((one) => page.series(one, measure)).reverse();
  // The axes reach the highest rate that papers compare, or that was measured here if higher.
  const every = series.flatMap((one) => one.points);
  const inside = every.filter((one) => one.x <= (page.data.most_bpp ?? Infinity));
  const seen = inside.length ? inside : every;
  const places = seen.map((one) => one.y);
  const rates = seen.map((one) => one.x);
  const beyond = every.map((one) => one.x).filter((x) => x > Math.max(...rates));
  // As in the figures: by the values alone, not by the ends of their intervals.
  const wide = measure.wide && Math.min(...places) > 0 && Math.max(...places) > 10 * Math.min(...places);
  const log = !page.data.linear_rate;
  let [low, high] = page.room(rates, log ? 0.12 : 0.04, log);
  // No marker may be cut by the frame.
  if (beyond.length) high = Math.min(high, Math.sqrt(Math.max(...rates) * Math.min(...beyond)));
  const values = wide ? places : [...places, ...seen.flatMap((one) => one.ends || [])];
  page.by("chart").setAttribute("aria-label", `${measure.name} against bits per pixel, ${series.length} curves`);
  page.by("curve-caption").textContent = measure.caption;
  page.plot(page.by("chart"), {
    x: { title: "Rate (bit per pixel)", log, range: [log ? low : 0, high] },
    y: { title: measure.axis + (measure.better === "lower" ? " ↓" : ""), log: wide, range: page.room(values, wide ? 0.15 : 0.05, wide) },
    series,
  });
};

page.chooseMetric = (column) => {
  page.metric = column;
  page.press(page.by("metric-choice"), column);
  page.legend();
  page.drawCurves();
};

page.narrow = window.matchMedia("(max-width: 760px)");

page.startCurves = () => {
  const box = page.by("chart");
  page.segments(page.by("metric-choice"), "metric", page.data.measures.map((one) => [one.column, one.label]), page.chooseMetric);
  page.listenToChart(box, page.by("tip"));
  if (page.metric) page.chooseMetric(page.metric);
  new ResizeObserver(page.drawCurves).observe(box);
};
