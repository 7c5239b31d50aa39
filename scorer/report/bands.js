/** The section in which bands are tried: edges are moved, and what they would have done is counted anew. */
const tryBands = (found, section) => {
  const { element, say, percent, table, chart } = draw;
  const names = Object.keys(found.after.bands);
  const sweep = found.sweep;
  const labelled = found.labels > 0;

  /** What edges do, as `evaluation.effect` counts it: `places` are indices of the sweep, ascending, one a band. */
  const outcome = (places, costs) => {
    const upto = [...places, null];
    const at = (column, place) => (place === null ? 0 : sweep[column][place]);
    const within = (column, band) => at(column, upto[band]) - at(column, upto[band + 1]);
    const reviewed = names.map((name, band) => (costs.reviewed.includes(name) ? band : -1)).filter((band) => band >= 0);
    const highest = names.length - 1,
      lowest = places[0];
    const hits = at("frauds", lowest),
      alarms = at("labelled", lowest) - hits,
      missed = found.frauds - hits;
    const loss = costs.amount ? found.fraud_money - at("caught", lowest) : missed * costs.missed;
    const sum = (column) => reviewed.reduce((total, band) => total + within(column, band), 0);
    return {
      alerts: at("alerts", lowest),
      alertsPerDay: at("alerts", lowest) / found.subject.days,
      reviewsPerDay: sum("alerts") / found.subject.days,
      hits,
      alarms,
      missed,
      passed: found.labels - found.frauds - alarms,
      precision: hits + alarms ? hits / (hits + alarms) : null,
      recall: found.frauds ? hits / found.frauds : null,
      cost:
        loss +
        costs.false_positive * (within("labelled", highest) - within("frauds", highest)) +
        costs.review * sum("labelled"),
    };
  };

  const usable = sweep.edges
    .map((edge, place) => [edge, place])
    .filter(([edge]) => edge > 0 && edge < 1)
    .map(([, place]) => place);
  const nearest = (edge) =>
    usable.reduce(
      (best, place) => (Math.abs(sweep.edges[place] - edge) < Math.abs(sweep.edges[best] - edge) ? place : best),
      usable[0],
    );
  /** The edge in the fewest digits that mean the same 32-bit number. */
  const short = (edge) => {
    for (let digits = 1; digits < 10; digits += 1)
      if (Math.fround(Number(edge.toPrecision(digits))) === Math.fround(edge))
        return String(Number(edge.toPrecision(digits)));
    return String(edge);
  };

  const givenCosts = () => ({
    false_positive: 0,
    missed: 0,
    amount: null,
    review: 0,
    reviewed: names.length > 1 ? names.slice(0, -1) : names,
    ...found.costs,
  });
  const state = {
    places: names.map((name) => nearest(found.after.bands[name])),
    costs: givenCosts(),
    capacity: found.capacity,
  };

  const yaml = () => {
    const plain = (text) =>
      /^[A-Za-z][A-Za-z_-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text)
        ? text
        : JSON.stringify(text);
    return `topics:\n  ${plain(found.subject.topic)}:\n    bands:\n${names.map((name, at) => `      ${plain(name)}: ${short(sweep.edges[state.places[at]])}\n`).join("")}`;
  };

  const interactive = () => {
    const part = section(
      "Try other bands",
      "Move an edge, or type one: what the bands would have done to these events is counted at once. Arrow keys move a slider by one step.",
    );
    const sliders = element("div"),
      inputs = element("div", { class: "inputs control-inputs" }),
      cards = element("div", { class: "cards", id: "cards", "aria-live": "polite" });
    const confusion = element("div"),
      text = element("pre", { id: "yaml", tabindex: 0 }),
      curves = element("div", { class: "pair" });
    const rows = names.map((name, at) => {
      const range = element("input", {
        type: "range",
        id: `edge-${at}`,
        min: 0,
        max: usable.length - 1,
        step: 1,
        oninput: () => move(at, usable[Number(range.value)]),
      });
      const number = element("input", {
        type: "number",
        min: 0,
        max: 1,
        step: "any",
        "aria-label": `Edge of ${name}`,
        onchange: () => move(at, nearest(Number(number.value))),
      });
      sliders.append(
        element("div", { class: "slider" }, element("label", { for: `edge-${at}` }, `${name} from`), range, number),
      );
      return { range, number };
    });
    const move = (at, place) => {
      state.places[at] = place;
      for (let other = at + 1; other < names.length; other += 1)
        state.places[other] = Math.max(state.places[other], state.places[other - 1]);
      for (let other = at - 1; other >= 0; other -= 1)
        state.places[other] = Math.min(state.places[other], state.places[other + 1]);
      show();
    };
    const input = (title, id, value, set) =>
      inputs.append(
        element(
          "label",
          {},
          title,
          element("input", {
            type: "number",
            id,
            min: 0,
            step: "any",
            value,
            oninput: (event) => {
              set(event.target.value === "" ? null : Number(event.target.value));
              show();
            },
          }),
        ),
      );
    if (labelled) {
      input("Cost of a false positive", "cost-alarm", state.costs.false_positive, (value) => {
        state.costs.false_positive = value ?? 0;
      });
      if (state.costs.amount === null)
        input("Cost of a missed fraud", "cost-missed", state.costs.missed, (value) => {
          state.costs.missed = value ?? 0;
        });
      input("Cost of a review", "cost-review", state.costs.review, (value) => {
        state.costs.review = value ?? 0;
      });
    }
    input("Reviews a day that people can do", "capacity", state.capacity, (value) => {
      state.capacity = value;
    });
    const card = (id, title, value, over = false) =>
      element("div", { class: over ? "card over" : "card" }, element("b", { id }, value), element("span", {}, title));
    const show = () => {
      const now = outcome(state.places, state.costs);
      rows.forEach(({ range, number }, at) => {
        range.value = String(usable.indexOf(state.places[at]));
        range.setAttribute("aria-valuetext", short(sweep.edges[state.places[at]]));
        number.value = short(sweep.edges[state.places[at]]);
      });
      const over = state.capacity !== null && now.reviewsPerDay > state.capacity;
      cards.replaceChildren(
        card("alerts", "alerts a day", say(now.alertsPerDay)),
        card(
          "reviews",
          state.capacity === null
            ? `reviews a day (${state.costs.reviewed.join(", ")})`
            : `reviews a day, ${say(state.capacity)} can be done`,
          say(now.reviewsPerDay),
          over,
        ),
        ...(labelled
          ? [
              card("precision", "precision", percent(now.precision)),
              card("recall", "recall", percent(now.recall)),
              card("alarms", "false positives", say(now.alarms)),
              card("missed", "missed frauds", say(now.missed)),
              ...(priced()
                ? [
                    card(
                      "cost",
                      state.costs.amount ? `cost; a missed fraud costs its ${state.costs.amount}` : "cost",
                      say(now.cost),
                    ),
                  ]
                : []),
            ]
          : []),
      );
      if (labelled)
        confusion.replaceChildren(
          element("h3", {}, "Labelled events"),
          table(
            ["", "fraud", "legitimate"],
            [
              ["alert", say(now.hits), say(now.alarms)],
              ["no alert", say(now.missed), say(now.passed)],
            ],
          ),
        );
      text.textContent = yaml();
      curves.replaceChildren(...edgeCurves());
    };
    const copy = element(
      "button",
      {
        type: "button",
        class: "control",
        id: "copy",
        onclick: async () => {
          try {
            await navigator.clipboard.writeText(text.textContent);
            copy.textContent = "Copied";
          } catch {
            getSelection().selectAllChildren(text);
            copy.textContent = "Selected: copy it with Ctrl+C";
          }
        },
      },
      "Copy YAML",
    );
    const reset = element(
      "button",
      {
        type: "button",
        class: "control",
        id: "reset",
        onclick: () => {
          Object.assign(state, {
            places: names.map((name) => nearest(found.after.bands[name])),
            costs: givenCosts(),
            capacity: found.capacity,
          });
          for (const [id, value] of [
            ["cost-alarm", state.costs.false_positive],
            ["cost-missed", state.costs.missed],
            ["cost-review", state.costs.review],
            ["capacity", state.capacity],
          ]) {
            const field = document.getElementById(id);
            if (field) field.value = value ?? "";
          }
          copy.textContent = "Copy YAML";
          show();
        },
      },
      "Reset",
    );
    part.append(
      sliders,
      inputs,
      cards,
      confusion,
      curves,
      element("h3", {}, "For the configuration"),
      text,
      element("p", {}, copy, " ", reset),
    );
    show();
  };

  const priced = () =>
    labelled &&
    Boolean(state.costs.amount !== null || state.costs.missed || state.costs.false_positive || state.costs.review);

  /** Cost, and alerts a day, over every place of the lowest edge; higher edges stay, or are pushed up. */
  const edgeCurves = () => {
    const every = usable.map((place, at) => [
      at,
      outcome(
        state.places.map((other, band) => (band ? Math.max(other, place) : place)),
        state.costs,
      ),
    ]);
    const steps = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (usable.length - 1)));
    const x = {
      name: `edge of ${names[0]}`,
      low: 0,
      high: usable.length - 1,
      ticks: [...new Set(steps)].map((at) => [at, say(sweep.edges[usable[at]])]),
    };
    const line = (title, name, value, limits, log) => {
      const points = every.map(([at, one]) => [at, value(one)]),
        mark = usable.indexOf(state.places[0]);
      const values = points.map(([, y]) => y).filter((y) => !log || y > 0),
        high = Math.max(0, ...values, ...Object.values(limits)) || 1;
      const low = log ? Math.min(high / 10, ...values) : 0;
      return chart(title, x, { name, low, high: log ? high : high * 1.05, log }, [{ points }], {
        limits,
        mark: [mark, Math.max(points[mark][1], low)],
      });
    };
    const limits = state.capacity ? { capacity: state.capacity } : {};
    const curves = [
      line("Reviews a day, by the lowest edge", "reviews a day", (one) => one.reviewsPerDay, limits, true),
      line("Alerts a day, by the lowest edge", "alerts a day", (one) => one.alertsPerDay, {}, true),
    ];
    return priced() ? [line("Cost, by the lowest edge", "cost", (one) => one.cost, {}, false), ...curves] : curves;
  };

  if (usable.length && names.length) interactive();
};
