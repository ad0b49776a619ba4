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
  page.scatter.dots = pairs;
  const codec = page.data.codecs[point.codec];
  const x = pairs.map((one) => (against ? page.place(measure, one.x) : one.x));
  const y = pairs.map((one) => page.place(measure, one.y));
  const arrow = measure.better === "lower" ? " ↓" : "";
  const traces = [];
  let xrange = page.room(x, 0.06);
  let yrange = page.room(y, 0.06);
  if (against) {
    xrange = yrange = page.room([...x, ...y], 0.06);
    traces.push({
      x: xrange, y: yrange, mode: "lines", hoverinfo: "skip",
      line: { color: page.ink("--muted"), width: 1, dash: "4px,4px" },
    });
  }
  const colour = page.colour(codec);
  const chosen = page.scatter.chosen;
  traces.push({
    x, y,
    mode: "markers",
    marker: {
      symbol: codec.symbol === "x-thin" ? "x-thin-open" : codec.symbol, size: 9, color: colour, opacity: 0.85,
      line: { width: pairs.map((one) => (one.image === chosen ? 3 : 0.5)), color: page.ink("--ink") },
    },
    hoverinfo: "text",
    hovertext: pairs.map((one) => [
      `<b>${page.plain(page.data.images[one.image].name)}</b>`,
      `${page.plain(page.titleOf(point))}: ${page.text(measure, one.y)}${page.unit(measure)} at ` +
        `${page.rate(point.image_bpp[one.at])} bpp`,
      ...(against ? [`${page.plain(page.titleOf(against))}: ${page.text(measure, one.x)}${page.unit(measure)} at ` +
        `${page.rate(against.image_bpp[one.other])} bpp`] : []),
    ].join("<br>")),
    customdata: pairs.map((one) => one.image),
  });
  const xtitle = against ? `${measure.axis}${arrow}, ${page.plain(page.titleOf(against))}` : "Rate of the image (bit per pixel)";
  const ytitle = `${measure.axis}${arrow}, ${page.plain(page.titleOf(point))}`;
  const box = page.by("scatter");
  box.setAttribute("aria-label", `${page.nameOf(measure)} of ${page.images(pairs.length)} of ${page.titleOf(point)}`);
  page.by("scatter-finding").textContent = page.scatter.finding(measure, point, against, pairs);
  page.by("scatter-caption").textContent =
    `${page.data.dataset}, ${page.images(pairs.length)}; ${page.nameOf(measure)} by ${measure.protocol}, rates by ${page.data.coding}; ` +
    [point, against].filter(Boolean).map((one) => {
      const { name, version, caveats } = page.data.codecs[one.codec];
      return `${name}: ${[version, ...caveats].join("; ")}`;
    }).filter((text, at, all) => all.indexOf(text) === at).join(". ") + "." +
    (against ? " Above the line the setting has the larger number." : "") +
    (measure.saturating ? ` Drawn as −10 log10(1 − ${page.nameOf(measure)}).` : "");
  page.by("scatter-nearest").disabled = page.data.codecs.length < 2;
  page.draw(box, traces, page.layout(page.axis(xtitle, { range: xrange }), page.axis(ytitle, { range: yrange })), () =>
    box.on("plotly_click", (event) => {
      const image = event.points.map((one) => one.customdata).find(Number.isInteger);
      if (image !== undefined) page.scatter.open(image);
    })
  );
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
  const other = now && now.codec !== point.codec ? now.codec : page.data.codecs.findIndex((_, place) =>
    place !== point.codec && page.sweep(place).length);
  const away = (one) => Math.abs(Math.log(one.bpp / point.bpp));
  const best = page.sweep(other).reduce((a, b) => (a && away(a) <= away(b) ? a : b), null);
  if (best) page.by("scatter-against").value = page.data.points.indexOf(best);
};

page.scatter.step = (forward) => {
  const dots = [...page.scatter.dots].sort((one, other) => one.x - other.x);
  if (!dots.length) return;
  const at = dots.findIndex((one) => one.image === page.scatter.chosen) + (forward ? 1 : -1);
  const dot = dots[Math.max(0, Math.min(dots.length - 1, at))];
  page.scatter.chosen = dot.image;
  page.scatter.draw();
  page.by("scatter-finding").textContent =
    `${page.data.images[dot.image].name}: ${page.text(page.scatter.measure(), dot.y)}`;
};

page.scatter.start = () => {
  const { data } = page;
  const measures = data.measures.filter((one) => one.by_image);
  const points = data.points
    .map((point, place) => ({ point, place }))
    .filter(({ point }) => point.images.length);
  if (!measures.length || !points.length) {
    page.by("images").hidden = true;
    return;
  }
  page.fill(page.by("scatter-metric"), measures.map((one) => [one.column, one.label]));
  const names = points.map(({ point, place }) => [place, `${page.titleOf(point)} (${page.rate(point.bpp)} bpp)`]);
  const last = points.filter(({ point }) => point.codec === points.at(-1).point.codec);
  page.fill(page.by("scatter-setting"), names, last[Math.floor(last.length / 2)].place);
  page.fill(page.by("scatter-against"), [["", "its own rate (bpp)"], ...names]);
  page.scatter.nearest();
  for (const name of ["metric", "setting", "against"]) {
    page.by(`scatter-${name}`).addEventListener("change", page.scatter.draw);
  }
  page.by("scatter-nearest").addEventListener("click", () => {
    page.scatter.nearest();
    page.scatter.draw();
  });
  page.by("scatter").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") page.scatter.step(event.key === "ArrowRight");
    else if (event.key === "Enter" && page.scatter.chosen !== null) page.scatter.open(page.scatter.chosen);
    else return;
    event.preventDefault();
  });
  page.scatter.draw();
};
