// Style that both charts share: axes, hovers, colours of the reader's theme.
"use strict";

page.ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

page.axis = (title, more = {}) => ({
  title: { text: title, font: { size: 13, color: page.ink("--muted") }, standoff: 10 },
  color: page.ink("--ink"),
  gridcolor: page.ink("--grid"),
  linecolor: page.ink("--line"),
  tickcolor: page.ink("--line"),
  tickfont: { size: 12, color: page.ink("--muted") },
  ticks: "outside",
  ticklen: 4,
  showline: true,
  zeroline: false,
  automargin: true,
  ...more,
});

// Label a logarithmic axis with numbers, not powers of ten.
page.logarithmic = (low, high) => ({
  type: "log",
  range: [Math.log10(low), Math.log10(high)],
  ...(high / low > 5
    ? page.ticks(low, high)
    : { nticks: 6, tickformat: "~g" }),
});

page.ticks = (low, high) => {
  const values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const first of [1, 2, 5]) values.push(first * 10 ** power);
  }
  const inside = values.filter((value) => value >= low && value <= high);
  return {
    tickmode: "array", tickvals: inside, ticktext: inside.map((value) => String(+value.toPrecision(3))),
  };
};

page.layout = (xaxis, yaxis) => ({
  xaxis,
  yaxis,
  autosize: true,
  margin: page.narrow.matches ? { l: 8, r: 8, t: 8, b: 8 } : { l: 12, r: 12, t: 10, b: 12 },
  paper_bgcolor: "rgba(0,0,0,0)",
  plot_bgcolor: "rgba(0,0,0,0)",
  font: { family: page.ink("--font"), color: page.ink("--ink") },
  showlegend: false,
  hovermode: "closest",
  hoverdistance: 24,
  hoverlabel: {
    bgcolor: page.ink("--raised"),
    bordercolor: page.ink("--line"),
    font: { family: page.ink("--font"), size: 12.5, color: page.ink("--ink") },
    align: "left",
  },
  modebar: { bgcolor: "rgba(0,0,0,0)", color: page.ink("--line"), activecolor: page.ink("--accent") },
  dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
});

page.chartOptions = {
  displaylogo: false,
  plotlyServerURL: "",
  displayModeBar: window.matchMedia("(pointer: coarse)").matches ? false : "hover",
  responsive: true,
  doubleClick: "reset",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  toImageButtonOptions: { format: "svg" },
};

// Return the range from lowest to highest with a margin, linear or logarithmic.
page.room = (values, share, logarithmic = false) => {
  const known = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  if (!known.length) return logarithmic ? [0.1, 1] : [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (logarithmic) return [low / (1 + share), high * (1 + share)];
  const margin = share * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
};

// `listen` is called once, when the chart is first drawn.
page.draw = (box, traces, layout, listen) => {
  const first = !box.dataset.drawn;
  box.dataset.drawn = "yes";
  return Plotly.react(box, traces, layout, page.chartOptions).then(() => first && listen());
};
