// Links into the page: #dataset/codec/setting/image?beside=codec,codec&metric=column.
"use strict";

page.link = {};

// A part of a link: like encodeURIComponent, but the signs of options stay legible.
page.link.part = (text) =>
  encodeURIComponent(text).replace(/%3A/g, ":").replace(/%3D/g, "=");

// The address's part after #, for a point's number, an image and codecs beside it.
page.link.of = (number, image, beside) => {
  const { data } = page;
  const point = data.points[number];
  const label = (codec) => page.link.part(data.codecs[codec].label);
  const path = [
    page.link.part(data.dataset), label(point.codec), page.link.part(point.setting),
    page.link.part(data.images[image].name),
  ].join("/");
  const more = [`beside=${beside.map(label).join(",")}`];
  if (page.curves.metric !== data.measures[0].column) more.push(`metric=${page.link.part(page.curves.metric)}`);
  return `#${path}?${more.join("&")}`;
};

// What a link names: {number, image, beside, metric}, as numbers of the page's data, null where
// the link or the page lacks it, and `said`, a sentence on what the page lacks. Null for an
// address without a link.
page.link.read = (hash) => {
  if (hash.length < 2 || page.by(hash.slice(1))) return null;
  const named = page.link.parts(hash.slice(1));
  if (!named) {
    return { number: null, said: `The address ends in “${hash}”, which is no link into this page.` };
  }
  const { data } = page;
  const lacking = [];
  const place = (found, what) => {
    if (found < 0) lacking.push(what);
    return found < 0 ? null : found;
  };
  const codecOf = (label) => {
    const exact = data.codecs.findIndex((one) => one.label === label);
    return exact >= 0 ? exact : data.codecs.findIndex((one) => one.name === label);
  };
  if (named.dataset !== data.dataset) lacking.push(`the dataset “${named.dataset}”`);
  const codec = place(codecOf(named.codec), `the codec “${named.codec}”`);
  const number = codec === null ? null : place(
    data.points.findIndex((one) => one.codec === codec && one.setting === named.setting),
    `the setting “${named.setting}” of ${named.codec}`
  );
  const image = !named.image ? null : place(
    data.images.findIndex((one) => one.name === named.image || one.name.replace(/\.[^.]*$/, "") === named.image),
    `the image “${named.image}”`
  );
  const beside = named.beside?.map((label) => place(codecOf(label), `the codec “${label}”`));
  const metric = !named.metric ? null
    : place(data.measures.findIndex((one) => one.column === named.metric), `the metric “${named.metric}”`);
  return {
    number, image, metric,
    beside: beside?.filter((one) => one !== null) ?? null,
    said: lacking.length ? `The link names ${lacking.join(", ")}, which this page does not have.` : "",
  };
};

// The texts of a link; null for an address of another form.
page.link.parts = (text) => {
  try {
    const [path, query = ""] = text.split(/\?(.*)/s);
    const [dataset, codec, setting, image] = path.split("/").map(decodeURIComponent);
    if (!setting) return null;
    const more = Object.fromEntries(query.split("&").map((one) => one.split(/=(.*)/s, 2)));
    return {
      dataset, codec, setting, image,
      beside: more.beside?.split(",").filter(Boolean).map(decodeURIComponent),
      metric: more.metric && decodeURIComponent(more.metric),
    };
  } catch {
    return null; // a percent sign that encodes nothing
  }
};

// Copy the address; `told` is called with a sentence.
page.link.copy = (told) => {
  const copied = navigator.clipboard?.writeText(location.href) ?? Promise.reject();
  copied.then(
    () => told("The link is copied."),
    () => told("The link cannot be copied here: it is in the address bar.")
  );
};
