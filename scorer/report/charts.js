"use strict";

/** Elements and charts: small functions that make DOM and SVG. Text is only ever set as text. */
const draw = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 640,
    HEIGHT = 340,
    LEFT = 96,
    RIGHT = 16,
    TOP = 14,
    BOTTOM = 52;

  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const shape = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  /** Say a number: whole ones with separators, others with a few significant digits. */
  const say = (number) => {
    if (number === null || number === undefined || Number.isNaN(number)) return "–";
    const size = Math.abs(number);
    if (Number.isInteger(number) || size >= 1000) return Math.round(number).toLocaleString("en");
    return size >= 0.001 ? String(Number(number.toPrecision(3))) : number.toExponential(1);
  };
  /** Say a score: 0.99964 is not 1. */
  const score = (number) =>
    number > 0 && number < 0.0001 ? number.toExponential(2) : String(Number(number.toFixed(5)));
  const percent = (share) => (share === null || Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);

  const table = (heads, rows) =>
    element(
      "div",
      { class: "wide" },
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...heads.map((head) => (head instanceof Node ? head : element("th", { scope: "col" }, head))),
          ),
        ),
        element(
          "tbody",
          {},
          ...rows.map((row) =>
            element("tr", {}, ...row.map((cell) => (cell instanceof Node ? cell : element("td", {}, cell)))),
          ),
        ),
      ),
    );

  /** Return round numbers from low to high, about so many. */
  const ticks = (low, high, many = 5) => {
    const rough = (high - low) / many || 1,
      scale = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((times) => times * scale).find((each) => each >= rough);
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step)
      found.push(Number(tick.toPrecision(12)));
    return found;
  };

  /** Scales of a chart: `axis` has low, high, and for a log one `log`. */
  const scale = (axis, from, to) => {
    const map = axis.log ? (value) => Math.log10(Math.max(value, axis.low)) : (value) => value;
    const low = map(axis.low),
      high = map(axis.high);
    return (value) => from + ((map(value) - low) / (high - low || 1)) * (to - from);
  };
  const marks = (axis) => {
    if (axis.ticks) return axis.ticks;
    if (!axis.log) return ticks(axis.low, axis.high).map((tick) => [tick, say(tick)]);
    const powers = [];
    for (let power = Math.ceil(Math.log10(axis.low)); 10 ** power <= axis.high; power += 1)
      powers.push([10 ** power, say(10 ** power)]);
    return powers;
  };

  const axes = (x, y, atX, atY) => [
    ...marks(y).flatMap(([value, text]) => [
      shape("path", { class: "axis", d: `M${LEFT} ${atY(value)}H${WIDTH - RIGHT}` }),
      shape("text", { x: LEFT - 8, y: atY(value) + 4, "text-anchor": "end" }, text),
    ]),
    ...marks(x).map(([value, text]) =>
      shape("text", { x: atX(value), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, text),
    ),
    shape("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, x.name),
    shape(
      "text",
      {
        x: 16,
        y: (TOP + HEIGHT - BOTTOM) / 2,
        "text-anchor": "middle",
        transform: `rotate(-90 16 ${(TOP + HEIGHT - BOTTOM) / 2})`,
      },
      y.name,
    ),
  ];

  /**
   * Return a figure. `series` are {name, points: [[x, y]…], bars: width or nothing}; `options` may have limits (y values
   * to draw a line at, by name), mark ([x, y]) and square (draw the diagonal).
   */
  const chart = (title, x, y, series, options = {}) => {
    const atX = scale(x, LEFT, WIDTH - RIGHT),
      atY = scale(y, HEIGHT - BOTTOM, TOP);
    const kinds = ["one", "two"];
    const drawn = series.map((each, at) =>
      each.bars
        ? shape(
            "g",
            { class: kinds[at], "fill-opacity": at ? 0.75 : 0.45, "stroke-width": 0 },
            ...each.points
              .filter(([, value]) => value > (y.log ? 0 : -Infinity))
              .map(([left, value]) =>
                shape("rect", {
                  x: atX(left),
                  width: Math.max(atX(left + each.bars) - atX(left) - 1, 1),
                  y: Math.min(atY(value), atY(y.low)),
                  height: Math.abs(atY(y.low) - atY(value)),
                }),
              ),
          )
        : shape("path", {
            class: `line ${kinds[at]}`,
            d: each.points
              .map(([a, b], index) => `${index ? "L" : "M"}${atX(a).toFixed(1)} ${atY(b).toFixed(1)}`)
              .join(""),
          }),
    );
    const limits = Object.entries(options.limits ?? {})
      .filter(([, value]) => value <= y.high)
      .flatMap(([name, value]) => [
        shape("path", { class: "limit", d: `M${LEFT} ${atY(value)}H${WIDTH - RIGHT}` }),
        shape("text", { x: WIDTH - RIGHT, y: atY(value) - 5, "text-anchor": "end" }, name),
      ]);
    const square = options.square
      ? [
          shape("path", {
            class: "axis",
            d: `M${atX(x.low)} ${atY(y.low)}L${atX(Math.min(x.high, y.high))} ${atY(Math.min(x.high, y.high))}`,
          }),
        ]
      : [];
    const mark = options.mark
      ? [shape("circle", { class: "mark", cx: atX(options.mark[0]), cy: atY(options.mark[1]), r: 6 })]
      : [];
    const picture = shape(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title },
      shape("title", {}, title),
      ...axes(x, y, atX, atY),
      ...square,
      ...drawn,
      ...limits,
      ...mark,
    );
    const legend =
      series.length > 1
        ? [
            element(
              "div",
              { class: "legend" },
              ...series.map((each, at) => element("span", { class: kinds[at] }, element("i"), each.name)),
            ),
          ]
        : [];
    return element("figure", {}, element("figcaption", {}, title), ...legend, picture, asTable(x, y, series));
  };

  const asTable = (x, y, series) =>
    element(
      "details",
      {},
      element("summary", {}, "as a table"),
      table([x.name, ...series.map((each) => each.name ?? y.name)], rowsOf(series)),
    );
  const rowsOf = (series) => {
    const every = Math.max(1, Math.ceil(series[0].points.length / 60));
    const rows = new Map();
    series.forEach((each, at) =>
      each.points
        .filter((_, index) => index % every === 0)
        .forEach(([a, b]) => {
          const key = say(a);
          if (!rows.has(key)) rows.set(key, [key, ...series.map(() => "")]);
          rows.get(key)[at + 1] = say(b);
        }),
    );
    return [...rows.values()];
  };

  /** Return a figure of horizontal bars: rows are [name, value]; limits as in `chart`. */
  const bars = (title, rows, limits = {}) => {
    const height = 24,
      name = 220,
      high = Math.max(...rows.map(([, value]) => value), ...Object.values(limits)) || 1;
    const at = (value) => name + (value / high) * (WIDTH - name - 70);
    const picture = shape(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${rows.length * height + 22}`, role: "img", "aria-label": title },
      shape("title", {}, title),
      ...rows.flatMap(([text, value], row) => [
        shape(
          "text",
          { x: name - 8, y: row * height + 17, "text-anchor": "end" },
          text.length > 28 ? `${text.slice(0, 27)}…` : text,
        ),
        shape("rect", {
          class: "one",
          "stroke-width": 0,
          x: name,
          y: row * height + 4,
          height: height - 8,
          width: Math.max(at(value) - name, 1),
        }),
        shape("text", { x: at(value) + 6, y: row * height + 17 }, say(value)),
      ]),
      ...Object.entries(limits).flatMap(([text, value]) => [
        shape("path", { class: "limit", d: `M${at(value)} 0V${rows.length * height}` }),
        shape("text", { x: at(value), y: rows.length * height + 16, "text-anchor": "middle" }, text),
      ]),
    );
    return element(
      "figure",
      {},
      element("figcaption", {}, title),
      picture,
      element(
        "details",
        {},
        element("summary", {}, "as a table"),
        table(
          ["", "value"],
          rows.map(([text, value]) => [text, say(value)]),
        ),
      ),
    );
  };

  return { element, shape, say, score, percent, table, chart, bars };
})();
