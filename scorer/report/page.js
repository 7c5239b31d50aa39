/** The report's sections, drawn from its JSON. */
(() => {
  const { element, say, score, percent, table, chart, bars } = draw;
  const found = JSON.parse(document.getElementById("findings").textContent);
  const drawn = document.getElementById("drawn");
  const names = Object.keys(found.after.bands);
  const labelled = found.labels > 0;

  const section = (title, how, ...content) => {
    const made = element(
      "section",
      { "aria-label": title },
      element("h2", {}, title),
      element("p", { class: "how" }, how),
      ...content.filter(Boolean),
    );
    drawn.append(made);
    return made;
  };

  const proposal = () => {
    const made = found.proposal;
    const spans = Object.entries(made.intervals).map(([name, one]) => [
      name.replace("edge.", "edge of ").replace("_per_day", " a day"),
      say(one.value),
      `${say(one.low)} to ${say(one.high)}`,
    ]);
    section(
      "Proposed bands",
      `Fitted for ${made.objective}. An interval says where ${percent(made.confidence)} of resamples lie; of a rate a day, where a coming week's mean will be.`,
      ...(spans.length ? [table(["", "value", "interval"], spans)] : []),
      element("pre", {}, made.yaml),
    );
  };

  const flips = () => {
    const { matrix, quantiles, moves, worst, largest, flips: changed } = found.difference;
    const count = (before, after) => matrix.find((cell) => cell.before === before && cell.after === after)?.events ?? 0;
    const order = [
      found.after.otherwise,
      ...names,
      ...matrix.map((cell) => cell.before),
      ...matrix.map((cell) => cell.after),
    ];
    const known = [...new Set(order)].filter((name) =>
      matrix.some((cell) => cell.before === name || cell.after === name),
    );
    const part = section(
      "What changes",
      "Rows are the decisions before, columns those now: what is off the diagonal changes.",
      table(
        ["", ...known],
        known.map((before) => [
          before,
          ...known.map((after) =>
            element(
              "td",
              before !== after && count(before, after) ? { class: "changed" } : {},
              say(count(before, after)),
            ),
          ),
        ]),
      ),
    );
    if (moves.counts.some((events) => events > 0)) {
      const points = moves.counts.map((events, at) => [moves.edges[at], events]);
      part.append(
        element("h3", {}, "How far scores move"),
        table(Object.keys(quantiles), [Object.values(quantiles).map((size) => element("td", {}, say(size)))]),
        chart(
          "Scores that moved, by how far",
          { name: "score now - score before", low: moves.edges[0], high: moves.edges.at(-1) },
          { name: "events (log scale)", low: 0.7, high: Math.max(...moves.counts) * 1.2, log: true },
          [{ points, bars: moves.edges[1] - moves.edges[0] }],
        ),
      );
    }
    const shown = worst.length < changed ? `${worst.length} of ${say(changed)}, ` : "";
    const title = largest ? "The largest changes" : `What is decided otherwise: ${shown}the highest scores first`;
    if (worst.length) part.append(element("h3", {}, title), worstTable(worst, largest > 0));
  };

  const worstTable = (worst, moved) => {
    const columns = [
      ["event", (one) => one.event_id],
      ["partition", (one) => one.partition],
      ["offset", (one) => one.offset],
      ["before", (one) => one.before],
      ["now", (one) => one.after],
      ...(moved
        ? [
            ["score before", (one) => one.before_score, score],
            ["score now", (one) => one.after_score, score],
            ["moved by", (one) => one.after_score - one.before_score, score],
          ]
        : [["score", (one) => one.after_score, score]]),
      ["fraud", (one) => (one.label === null ? "" : one.label ? "yes" : "no")],
    ];
    const box = element("div"),
      filter = element("input", {
        type: "search",
        class: "control",
        placeholder: "Filter by event or decision",
        "aria-label": "Filter the changes",
        oninput: () => show(),
      });
    let by = null,
      down = true;
    const show = () => {
      const wanted = filter.value.toLowerCase();
      const rows = worst.filter((one) => `${one.event_id} ${one.before} ${one.after}`.toLowerCase().includes(wanted));
      if (by) rows.sort((a, b) => (by(a) < by(b) ? 1 : by(a) > by(b) ? -1 : 0) * (down ? 1 : -1));
      const heads = columns.map(([name, value]) =>
        element(
          "th",
          { scope: "col" },
          element(
            "button",
            {
              type: "button",
              onclick: () => {
                down = by === value ? !down : true;
                by = value;
                show();
              },
            },
            name,
          ),
        ),
      );
      box.replaceChildren(
        table(
          heads,
          rows.map((one) =>
            columns.map(([, value, words]) =>
              typeof value(one) === "number"
                ? (words ?? say)(value(one))
                : element("td", { class: "text", title: value(one) }, value(one)),
            ),
          ),
        ),
      );
    };
    show();
    return element("div", { class: "long" }, element("p", {}, filter), box);
  };

  const curves = () => {
    const sides = [
      ["now", found.quality],
      ["before", found.quality_before],
    ].filter(([, one]) => one);
    const lines = (pick) =>
      sides.map(([name, one]) => ({
        name: `${name}, area ${pick(one).area.toFixed(3)}`,
        points: pick(one).x.map((x, at) => [x, pick(one).y[at]]),
      }));
    const share = (name) => ({ name, low: 0, high: 1 });
    const part = section(
      "How well scores tell fraud",
      "The nearer the precision-recall curve is to the upper right corner, and the ROC curve to the upper left, the better the scores, whatever the bands.",
    );
    const only = (title, series) => (series.length > 1 ? title : `${title}, ${series[0].name.replace("now, ", "")}`);
    const pr = lines((one) => one.pr),
      roc = lines((one) => one.roc);
    part.append(
      element(
        "div",
        { class: "pair" },
        chart(only("Precision and recall", pr), share("recall"), share("precision"), pr),
        chart(only("ROC", roc), share("false positive rate"), share("true positive rate"), roc, { square: true }),
      ),
    );
    const { calibration } = found.quality;
    const most = Math.max(...calibration.bins.flatMap((bin) => [bin.score, bin.rate])) * 1.05 || 1;
    section(
      "Are scores probabilities?",
      `${calibration.verdict}. On the diagonal, a score is the share of fraud among events with it.`,
      chart(
        "Reliability",
        { name: "mean score of the bin", low: 0, high: most },
        { name: "share of fraud in it", low: 0, high: most },
        [{ points: calibration.bins.map((bin) => [bin.score, bin.rate]) }],
        { square: true },
      ),
    );
  };

  const histograms = () => {
    const points = (one) => one.counts.map((events, at) => [one.edges[at], events]);
    const width = found.scores.edges[1] - found.scores.edges[0];
    const series = [
      { name: "all events", points: points(found.scores), bars: width },
      ...(labelled ? [{ name: "frauds", points: points(found.scores_frauds), bars: width }] : []),
    ];
    const most = Math.max(...found.scores.counts) || 1,
      box = element("div");
    let log = true;
    const show = () =>
      box.replaceChildren(
        chart(
          "Events by score",
          { name: "score", low: 0, high: 1 },
          { name: log ? "events (log scale)" : "events", low: log ? 0.7 : 0, high: most * 1.1, log },
          series,
        ),
      );
    show();
    section(
      "Scores",
      "How many events have which score; bars in front are the frauds among them.",
      element(
        "p",
        {},
        element(
          "button",
          {
            type: "button",
            class: "control",
            onclick: () => {
              log = !log;
              show();
            },
          },
          "Logarithmic or not",
        ),
      ),
      box,
    );
  };

  const segments = () =>
    found.segments.forEach(({ field, rows }) => {
      const before = rows.some((row) => row.before);
      const heads = [
        field,
        "events",
        ...(before ? ["alerts before"] : []),
        "alerts",
        ...(before ? ["decisions changed"] : []),
        ...(labelled ? ["precision", "recall"] : []),
      ];
      section(
        `By ${field}`,
        "What the bands do to each value's events.",
        table(
          heads,
          rows.map((row) => [
            element("td", { class: "text", title: row.value }, row.value),
            say(row.events),
            ...(before ? [say(row.before?.alerts ?? 0)] : []),
            say(row.after.alerts),
            ...(before ? [say(row.flips)] : []),
            ...(labelled
              ? [percent(row.after.confusion?.precision ?? null), percent(row.after.confusion?.recall ?? null)]
              : []),
          ]),
        ),
      );
    });

  const drift = () => {
    const shown = found.drift
      .slice(0, 20)
      .map((one) => [`${one.kind} ${one.name}`.replace("score score", "score"), one.psi]);
    const others = found.drift.length - shown.length;
    section(
      "Drift",
      `How far these events are from those the bundle was packed with: the population stability index (PSI) of each field, feature, and the score. Below 0.1 nothing much changed, above 0.25 it is another population.${others ? ` ${others} more are closer.` : ""}`,
      bars("PSI, the largest first", shown, { 0.1: 0.1, 0.25: 0.25 }),
      others
        ? element(
            "details",
            {},
            element("summary", {}, "all of them"),
            table(
              ["", "PSI"],
              found.drift.map((one) => [`${one.kind} ${one.name}`, say(one.psi)]),
            ),
          )
        : null,
    );
  };

  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement,
      dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", () =>
    document.querySelectorAll("details").forEach((one) => {
      one.open = true;
    }),
  );

  tryBands(found, section);
  if (found.proposal) proposal();
  if (found.difference?.matched) flips();
  if (found.quality) curves();
  histograms();
  segments();
  if (found.drift.length) drift();
  const sides = [found.before, found.after].filter((side) => side?.bundle_sha256);
  document
    .querySelector("main")
    .append(
      element(
        "footer",
        { class: "how" },
        ...sides.map((side) =>
          element("p", {}, `${side.title}: bundle ${side.bundle_sha256}, thresholds ${side.thresholds_version}`),
        ),
        element("p", {}, "The numbers of this page are in the .json file beside it, too."),
      ),
    );
})();
