// Rate curves: one metric at a time, measured over published; each point opens its pictures.
"use strict";

page.curves = {
  metric: page.data.measures[0]?.column,
  hidden: new Set(),
  chosen: null, // the point that the keyboard is on
  asked: false, // about intervals; until then distribution metrics have them, as in figures
};

page.curves.markers = {
  measured: "filled, measured here",
  precomputed: "open with a dot, precomputed (bundled rows or a pack)",
  published: "open on broken lines, published (sources in the hover; bars and bands are reading errors)",
};

// Marks at the names of codecs that have a caveat: as many stars as the caveat's place.
page.curves.caveats = new Map(
  [...new Set(page.data.codecs.flatMap((codec) => codec.caveats))].map(
    (caveat, place) => [caveat, "*".repeat(place + 1)]
  )
);

page.curves.markedName = (codec) =>
  codec.name + codec.caveats.map((caveat) => page.curves.caveats.get(caveat)).join(" ");

page.curves.drawnPoints = (codec) => {
  const column = page.curves.metric;
  return page.sweep(codec)
    .filter((point) => point.means[column].place !== undefined)
    .sort((one, other) => one.means[column].bpp - other.means[column].bpp);
};

page.curves.visible = () =>
  page.data.codecs.map((codec, place) => place).filter(
    (place) => !page.curves.hidden.has(`codec ${place}`) && page.curves.drawnPoints(place).length
  );

page.curves.overlays = () =>
  page.by("published").checked ? page.data.published[page.curves.metric] : [];

page.curves.hover = (point, measure) => {
  const codec = page.data.codecs[point.codec];
  const mean = point.means[measure.column];
  const parts = [
    `<b>${page.plain(codec.name)}</b>  ${page.plain(point.setting)}`,
    `${page.rate(mean.bpp)} bpp, ${page.text(measure, mean.value)}${page.unit(measure)}, ` +
      `${page.images(mean.images)}`,
  ];
  if (mean.interval) {
    const [low, high] = mean.interval.map((end) => page.text(measure, end));
    parts.push(`${Math.round(100 * page.data.confidence)} % interval: ${low} to ${high}`);
  }
  parts.push(page.lines(codec.version));
  for (const caveat of codec.caveats) parts.push(page.lines(`caveat: ${caveat}`));
  if (codec.recorded) parts.push("precomputed");
  return parts.join("<br>");
};

page.curves.publishedHover = (curve, point, measure) => {
  const error = point.value_error ? ` ± ${point.value_error}` : "";
  return [
    `<b>${page.plain(curve.name)}</b>  ${page.plain(point.setting)}`,
    `${page.rate(point.bpp)} bpp, ${page.text(measure, point.value)}${error}${page.unit(measure)}`,
    `published, ${page.plain(curve.how)}`,
    page.lines(curve.source),
    page.lines(point.reference),
    page.lines(`${curve.protocol}${curve.other_rule ? " (another rule)" : ""}; ${point.rate_protocol}`),
    ...(point.note ? [page.lines(point.note)] : []),
  ].join("<br>");
};

page.curves.traces = (measure) => {
  const traces = [];
  for (const curve of page.curves.overlays()) {
    const key = `published ${curve.name}`;
    if (page.curves.hidden.has(key)) continue;
    const colour = page.colour(curve);
    const errors = curve.points.map((point) => point.error);
    if (curve.sampled && errors.every(Boolean)) {
      traces.push({
        x: [...curve.points.map((p) => p.bpp), ...curve.points.map((p) => p.bpp).reverse()],
        y: [...errors.map((end) => end[0]), ...errors.map((end) => end[1]).reverse()],
        fill: "toself", fillcolor: colour, opacity: 0.14, mode: "none", hoverinfo: "skip",
      });
    }
    traces.push({
      x: curve.points.map((point) => point.bpp),
      y: curve.points.map((point) => point.place),
      mode: curve.sampled ? "lines" : "lines+markers",
      line: { color: colour, width: 1.3, dash: curve.sampled ? "dashdot" : "4px,3px" },
      marker: page.marker(curve, "published", colour, 7, 1.3),
      error_y: curve.sampled || !errors.some(Boolean) ? undefined : {
        type: "data", symmetric: false, thickness: 1, width: 2, color: colour,
        array: curve.points.map((p) => (p.error ? p.error[1] - p.place : 0)),
        arrayminus: curve.points.map((p) => (p.error ? p.place - p.error[0] : 0)),
      },
      hoverinfo: "text",
      hovertext: curve.points.map((point) => page.curves.publishedHover(curve, point, measure)),
      customdata: curve.points.map(() => null),
    });
  }
  for (const place of page.curves.visible()) {
    const codec = page.data.codecs[place];
    const points = page.curves.drawnPoints(place);
    const means = points.map((point) => point.means[measure.column]);
    const colour = page.colour(codec);
    traces.push({
      x: means.map((mean) => mean.bpp),
      y: means.map((mean) => mean.place),
      mode: "lines+markers",
      line: { color: colour, width: 2 },
      marker: page.marker(
        codec, page.origin(codec), colour, codec.symbol === "star" ? 12 : 8.5, codec.recorded ? 1.5 : 1
      ),
      error_y: page.by("intervals").checked ? {
        type: "data", symmetric: false, thickness: 1.2, width: 3, color: colour,
        array: means.map((mean) => (mean.ends ? mean.ends[1] - mean.place : null)),
        arrayminus: means.map((mean) => (mean.ends ? mean.place - mean.ends[0] : null)),
      } : undefined,
      hoverinfo: "text",
      hovertext: points.map((point) => page.curves.hover(point, measure)),
      customdata: points.map((point) => page.data.points.indexOf(point)),
    });
  }
  const chosen = page.data.points[page.curves.chosen];
  const mean = chosen?.means[measure.column];
  if (mean?.place !== undefined) {
    traces.push({
      x: [mean.bpp], y: [mean.place], mode: "markers", hoverinfo: "skip",
      marker: {
        symbol: "circle-open", size: 19, color: page.ink("--accent"),
        line: { width: 2, color: page.ink("--accent") },
      },
    });
  }
  return traces;
};

// Ranges of the points below the highest rate of papers' comparisons, if there are any.
page.curves.ranges = (measure) => {
  const every = page.curves.visible().flatMap((codec) =>
    page.curves.drawnPoints(codec).map((point) => point.means[measure.column])
  );
  for (const curve of page.curves.overlays()) {
    if (!page.curves.hidden.has(`published ${curve.name}`)) every.push(...curve.points);
  }
  const most = page.data.most_bpp ?? Infinity;
  const inside = every.filter((one) => one.bpp <= most);
  const places = inside.length ? inside : every;
  const values = places.map((one) => one.place);
  if (page.by("intervals").checked) {
    values.push(...places.flatMap((one) => one.ends ?? []));
  }
  const rates = places.map((one) => one.bpp);
  return { rates, values, beyond: every.filter((one) => one.bpp > Math.max(...rates)).map((one) => one.bpp) };
};

page.curves.caption = (measure) => {
  const { data } = page;
  const shown = page.curves.visible().flatMap((codec) => page.curves.drawnPoints(codec));
  const counts = [...new Set(shown.map((point) => point.means[measure.column].images))].sort();
  const parts = [
    `${data.dataset}: ${measure.by_image ? "means over" : "one value of the whole set of"} ` +
      `${counts.join(" or ") || 0} images; rate is the ${data.average} ` +
      `(${data.coding}); ${page.nameOf(measure)} by ${measure.protocol}` +
      `${measure.better === "lower" ? ", lower is better" : ""}.`,
  ];
  if (measure.saturating) parts.push(`Drawn as −10 log10(1 − ${page.nameOf(measure)}).`);
  const lacking = data.points.filter((point) => point.means[measure.column].why_not).length;
  if (lacking) {
    const points = lacking === 1 ? "1 point may not be compared and is" : `${lacking} points may not be compared and are`;
    parts.push(`${points} left out (reasons below).`);
  }
  if (page.by("intervals").checked) {
    const percent = Math.round(100 * data.confidence);
    parts.push(measure.by_image
      ? `Bars: ${percent} % interval of the mean, images drawn again (bootstrap); most ` +
        "of it is how much images differ, so two codecs are compared image by image, below."
      : `Bars: ${percent} % interval of the set’s value, by the influence of each image (jackknife).`);
  }
  if (!measure.by_image && Math.min(...counts) < data.few_images) {
    parts.push(`Over fewer than ${data.few_images} images, where such metrics are biased.`);
  }
  const codecs = page.curves.visible().map((one) => data.codecs[one]);
  const overlays = page.curves.overlays();
  const origins = new Set([...codecs.map(page.origin), ...overlays.map(() => "published")]);
  const said = Object.entries(page.curves.markers).filter(([origin]) => origins.has(origin));
  parts.push(`Markers: ${said.map(([, words]) => words).join("; ")}.`);
  const warned = new Set(codecs.flatMap((one) => one.caveats));
  const told = [...page.curves.caveats].filter(([caveat]) => warned.has(caveat));
  if (told.length) parts.push(`${told.map(([caveat, mark]) => `${mark} ${caveat}`).join("; ")}.`);
  if (overlays.length) {
    const others = [...new Set(overlays.filter((c) => c.other_rule).map((c) => c.protocol))];
    if (others.length) parts.push(`Protocols mixed: ${others.join(", ")}.`);
  }
  return parts.join(" ");
};

page.curves.draw = () => {
  const measure = page.measure(page.curves.metric);
  if (!measure) return;
  if (!page.curves.asked) page.by("intervals").checked = !measure.by_image;
  const { rates, values, beyond } = page.curves.ranges(measure);
  const wide = measure.wide && Math.min(...values) > 0 && Math.max(...values) > 10 * Math.min(...values);
  const log = page.by("log-rate").checked;
  let [low, high] = page.room(rates, log ? 0.12 : 0.04, log);
  // So that no marker is half shown.
  if (beyond.length) high = Math.min(high, Math.sqrt(Math.max(...rates) * Math.min(...beyond)));
  const xaxis = page.axis("Rate (bit per pixel)", log ? page.logarithmic(low, high) : { range: [0, high] });
  const [bottom, top] = page.room(values, wide ? 0.15 : 0.05, wide);
  const yaxis = page.axis(
    measure.axis + (measure.better === "lower" ? " ↓" : ""),
    wide ? page.logarithmic(bottom, top) : { range: [bottom, top] }
  );
  const box = page.by("chart");
  box.setAttribute("aria-label", `${page.nameOf(measure)} against bits per pixel, ${page.curves.visible().length} codecs`);
  page.by("curve-caption").textContent = page.curves.caption(measure);
  page.draw(box, page.curves.traces(measure), page.layout(xaxis, yaxis), () =>
    box.on("plotly_click", (event) => {
      const point = event.points.map((one) => one.customdata).find(Number.isInteger);
      if (point !== undefined) page.curves.open(point, box);
    })
  );
};

page.curves.open = (point, from) => {
  page.curves.chosen = point;
  page.curves.draw();
  page.viewer.open(point, null, null, from);
};

page.curves.legend = () => {
  const codecs = page.data.codecs.map((codec, place) => ({
    key: `codec ${place}`, name: page.curves.markedName(codec), style: codec,
    drawing: page.drawing.codec(codec), detail: [codec.version, ...codec.caveats].join("; "),
    drawn: page.curves.drawnPoints(place).length > 0,
  })).filter((one) => one.drawn);
  const from = (origin) => codecs.filter((one) => one.drawing.origin === origin);
  const names = new Map(page.curves.overlays().map((curve) => [curve.name, curve]));
  const published = [...names].map(([name, curve]) => ({
    key: `published ${name}`, name, style: curve, drawing: page.drawing.published(curve),
    detail: `${curve.source}; ${curve.protocol}`,
  }));
  page.legend(page.by("legend"), [["Measured here", from("measured")], ["Precomputed", from("precomputed")], ["Published", published]],
    page.curves.hidden, page.curves.draw);
};

// Keyboard moves along a curve and to the point nearest in rate on the next one.
page.curves.step = (key) => {
  const codecs = page.curves.visible();
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
  page.curves.legend();
  page.curves.draw();
};

// Tell the styles where the chart begins, below headings and controls of one line or more.
page.curves.makeRoom = () => {
  const top = page.by("chart").getBoundingClientRect().top + window.scrollY;
  document.documentElement.style.setProperty("--above-chart", `${Math.ceil(top)}px`);
};

page.curves.start = () => {
  const { data } = page;
  page.by("log-rate").checked = !data.linear_rate;
  page.by("published").checked = data.published_shown;
  page.by("published-switch").hidden = !Object.values(data.published).some((found) => found.length);
  page.segments(page.by("metric-choice"), "metric",
    data.measures.map((one) => [one.column, one.label]), page.curves.metric,
    page.curves.choose);
  page.by("log-rate").addEventListener("change", page.curves.draw);
  page.by("intervals").addEventListener("change", () => {
    page.curves.asked = true;
    page.curves.draw();
  });
  page.by("published").addEventListener("change", () => {
    page.curves.legend();
    page.curves.draw();
  });
  const box = page.by("chart");
  box.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow")) page.curves.step(event.key);
    else if (event.key === "Enter" && page.curves.chosen !== null) page.curves.open(page.curves.chosen, box);
    else return;
    event.preventDefault();
  });
  page.curves.makeRoom();
  window.addEventListener("resize", page.curves.makeRoom);
  page.curves.legend();
  page.curves.draw();
};
