// Image by image: one point's numbers against those of another point, or against their rates.
"use strict";

page.scatter = { dots: [], chosen: null };

page.scatter.measure = () => page.measure(page.by("scatter-metric").value);

// Images for which both points have a finite value.
page.scatter.pairs = (measure, point, against) =>
  point.images.flatMap((image, at) => {
    const y = page.value(point.image_values[measure.column][at]);
    let x = point.image_bpp[at];
    let other = null;
    if (against) {
      other = against.images.indexOf(image);
      x = other < 0 ? null : page.value(against.image_values[measure.column][other]);
    }
    const known = [x, y].every((one) => one !== null && Number.isFinite(page.place(measure, one)));
    return known ? [{ image, at, other, x, y }] : [];
  });

page.scatter.interval = (differences) => {
  const count = differences.length;
  const mean = differences.reduce((sum, one) => sum + one, 0) / count;
  const quantile = page.data.quantiles[count - 2];
  if (quantile === undefined) return { mean, half: null };
  const squares = differences.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  return { mean, half: quantile * Math.sqrt(squares / (count - 1) / count) };
};

page.scatter.finding = (measure, point, against, pairs) => {
  if (!pairs.length) return "No image has a number of both.";
  if (!against) {
    const values = pairs.map((one) => one.y);
    const worst = pairs.reduce((a, b) => ((b.y < a.y) === (measure.better === "higher") ? b : a));
    return (
      `${page.titleOf(point)}, ${page.images(pairs.length)}: ${page.nameOf(measure)} from ` +
      `${page.text(measure, Math.min(...values))} to ${page.text(measure, Math.max(...values))}; ` +
      `worst: ${page.data.images[worst.image].name}.`
    );
  }
  const differences = pairs.map((one) => one.y - one.x);
  const better = differences.filter((one) => (measure.better === "higher" ? one > 0 : one < 0)).length;
  const { mean, half } = page.scatter.interval(differences);
  const signed = (value) => (value > 0 ? "+" : "") + page.text(measure, value);
  const interval = half === null ? "" :
    ` (${Math.round(100 * page.data.confidence)} % interval ${signed(mean - half)} to ${signed(mean + half)}, paired, Student’s t)`;
  return (
    `${page.titleOf(point)} at ${page.rate(point.bpp)} bpp minus ${page.titleOf(against)} at ` +
    `${page.rate(against.bpp)} bpp: ${signed(mean)}${page.unit(measure)}${interval}; ` +
    `better in ${better} of ${page.images(pairs.length)}.`
  );
};

page.scatter.draw = () => {
  const measure = page.scatter.measure();
  if (!measure) return;
  const point = page.data.points[page.by("scatter-setting").value];
  const against = page.data.points[page.by("scatter-against").value] ?? null;
  const pairs = page.scatter.pairs(measure, point, against);
  const codec = page.data.codecs[point.codec];
  const rate = (one, at) => `${page.rate(one.image_bpp[at])} bpp`;
  const told = (one, value, at) => `${page.titleOf(one)}: ${page.text(measure, value)}${page.unit(measure)} at ${rate(one, at)}`;
  const points = pairs.map(({ image, at, other, x, y }) => ({
    x: against ? page.place(measure, x) : x, y: page.place(measure, y), number: image,
    hover: [page.data.images[image].name, told(point, y, at), ...(against ? [told(against, x, other)] : [])],
  }));
  page.scatter.dots = points;
  const [x, y] = [points.map((one) => one.x), points.map((one) => one.y)];
  const range = against ? page.room([...x, ...y], 0.06) : null;
  const series = { name: codec.name, colour: page.colour(codec), marker: codec.marker, filled: true, points };
  const diagonal = { width: 1, dashes: "4 4", colour: page.ink("--muted"), points: (range ?? []).map((end) => ({ x: end, y: end })) };
  const title = measure.axis + (measure.better === "lower" ? " ↓" : "");
  const box = page.by("scatter");
  box.setAttribute("aria-label", `${page.nameOf(measure)} of ${page.images(pairs.length)} of ${page.titleOf(point)}`);
  page.by("scatter-finding").textContent = page.scatter.finding(measure, point, against, pairs);
  page.by("scatter-caption").textContent =
    (against ? "Above the line the setting has the larger number. " : "") +
    (measure.saturating ? `Drawn as −10 log10(1 − ${page.nameOf(measure)}).` : "");
  page.by("scatter-nearest").disabled = page.data.codecs.length < 2;
  page.plot(box, {
    key: [measure.column, point.codec, point.setting, against?.codec, against?.setting].join(" "),
    x: { title: against ? `${title}, ${page.titleOf(against)}` : "Rate of the image (bit per pixel)", range: range ?? page.room(x, 0.06) },
    y: { title: `${title}, ${page.titleOf(point)}`, range: range ?? page.room(y, 0.06) },
    series: [diagonal, series],
    ring: points.find((one) => one.number === page.scatter.chosen) ?? null,
    open: page.scatter.open,
  });
};

page.scatter.open = (image) => {
  const other = page.data.points[page.by("scatter-against").value];
  page.viewer.open(
    Number(page.by("scatter-setting").value), image, other ? [other.codec] : null, page.by("scatter")
  );
};

// The point of another codec whose rate is nearest to that of the setting.
page.scatter.nearest = () => {
  const point = page.data.points[page.by("scatter-setting").value];
  const now = page.data.points[page.by("scatter-against").value];
  const other = now && now.codec !== point.codec ? now.codec
    : page.listed().map((one) => one.place).find((place) => place !== point.codec && place !== undefined);
  const away = (one) => Math.abs(Math.log(one.bpp / point.bpp));
  const best = page.sweep(other ?? point.codec).reduce((a, b) => (a && away(a) <= away(b) ? a : b), null);
  if (best) page.by("scatter-against").value = page.data.points.indexOf(best);
};

page.scatter.step = (key) => {
  const dots = [...page.scatter.dots].sort((one, other) => one.x - other.x);
  if (!dots.length) return;
  const at = dots.findIndex((one) => one.number === page.scatter.chosen) + (key === "ArrowRight" ? 1 : -1);
  const dot = dots[Math.max(0, Math.min(dots.length - 1, at))];
  page.scatter.chosen = dot.number;
  page.scatter.draw();
  page.by("scatter-finding").textContent = dot.hover.join(", ");
};

// The settings that can be chosen: of the codecs in the legend, and those that are chosen now.
page.scatter.fill = () => {
  const [setting, against] = ["setting", "against"].map((name) => page.by(`scatter-${name}`));
  const now = [setting.value, against.value];
  const listed = new Set(page.listed().map((one) => one.place));
  const points = page.data.points
    .map((point, place) => ({ point, place }))
    .filter(({ point, place }) => point.images.length && (listed.has(point.codec) || now.includes(String(place))));
  const names = points.map(({ point, place }) => [place, `${page.titleOf(point)} (${page.rate(point.bpp)} bpp)`]);
  const mine = points.filter(({ point }) => point.codec === points[0]?.point.codec);
  page.fill(setting, names, now[0] || mine[Math.floor(mine.length / 2)]?.place);
  page.fill(against, [["", "its own rate (bpp)"], ...names], now[1]);
  return points.length;
};

page.scatter.start = () => {
  const measures = page.data.measures.filter((one) => one.by_image);
  if (!measures.length || !page.scatter.fill()) {
    page.by("images").hidden = true;
    return;
  }
  page.fill(page.by("scatter-metric"), measures.map((one) => [one.column, one.label]));
  page.scatter.nearest();
  for (const name of ["metric", "setting", "against"]) {
    page.by(`scatter-${name}`).addEventListener("change", page.scatter.draw);
  }
  page.by("scatter-nearest").addEventListener("click", () => {
    page.scatter.nearest();
    page.scatter.draw();
  });
  page.listenToArrows(page.by("scatter"), ["ArrowLeft", "ArrowRight"], page.scatter.step,
    () => page.scatter.chosen !== null && page.scatter.open(page.scatter.chosen));
  page.scatter.draw();
};
