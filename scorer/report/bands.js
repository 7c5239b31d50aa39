/** The section in which bands are tried: edges are moved, and what they would have done is counted anew. */
const tryBands = (found, section) => {
  const { element, say, percent, table, chart } = draw;
  const names = Object.keys(found.after.bands);
  const edgeOf = (place) => short(found.sweep.edges[place]);
  const { usable, find, outcome, short, plain } = counting(found, names);
  const labelled = found.labels > 0;

  const givenCosts = () => ({
    false_positive: 0,
    missed: 0,
    amount: null,
    review: 0,
    reviewed: names.length > 1 ? names.slice(0, -1) : names,
    ...found.costs,
  });
  const given = () => ({
    edges: names.map((name) => short(found.after.bands[name])),
    costs: givenCosts(),
    capacity: found.capacity,
    refused: "",
  });
  const state = given();
  const places = () => state.edges.map((edge) => find(edge).place);
  /** The slider's step of an edge: the first that is not below it, or the last there is. */
  const stepOf = (edge) => {
    const step = usable.findIndex((place) => found.sweep.edges[place] >= Math.fround(edge));
    return step < 0 ? usable.length - 1 : step;
  };

  const yaml = () => {
    const word = (text) =>
      /^[A-Za-z][A-Za-z_-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text)
        ? text
        : JSON.stringify(text);
    return `topics:\n  ${word(found.subject.topic)}:\n    bands:\n${names.map((name, at) => `      ${word(name)}: ${plain(state.edges[at])}\n`).join("")}`;
  };

  const interactive = () => {
    const part = section(
      "Try other bands",
      "Move an edge, or type one: what the bands would have done to these events is counted at once. Arrow keys move an edge by one step.",
    );
    const sliders = element("div"),
      note = element("p", { id: "note", class: "note", role: "status" }),
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
        oninput: () => slide(at, Number(range.value)),
      });
      const number = element("input", {
        type: "number",
        min: 0,
        max: 1,
        step: "any",
        "aria-label": `Edge of ${name}`,
        onchange: () => type(at, number.value),
        onblur: () => {
          number.value = plain(state.edges[at]);
        },
        onkeydown: (event) => {
          if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
          event.preventDefault();
          if (number.value !== plain(state.edges[at])) type(at, number.value);
          const edge = Math.fround(state.edges[at]);
          const step =
            event.key === "ArrowUp"
              ? usable.findIndex((place) => found.sweep.edges[place] > edge)
              : usable.findLastIndex((place) => found.sweep.edges[place] < edge);
          if (step >= 0) slide(at, step);
        },
      });
      sliders.append(
        element("div", { class: "slider" }, element("label", { for: `edge-${at}` }, `${name} from`), range, number),
      );
      return { range, number };
    });
    const last = usable.length - names.length;
    /** Move an edge to a step of its slider; those in its way go on before it. */
    const slide = (at, step) => {
      const edges = state.edges,
        under = (band) => Math.fround(edges[band]) < Math.fround(edges[band + 1]);
      state.refused = "";
      edges[at] = edgeOf(usable[Math.min(Math.max(step, at), last + at)]);
      for (let other = at + 1; other < names.length && !under(other - 1); other += 1)
        edges[other] = edgeOf(usable[stepOf(edges[other - 1]) + 1]);
      for (let other = at - 1; other >= 0 && !under(other); other -= 1)
        edges[other] = edgeOf(usable[stepOf(edges[other + 1]) - 1]);
      show();
    };
    /** Take an edge as it was typed, if it may lie there. */
    const type = (at, text) => {
      const edge = Number(text),
        rounded = Math.fround(edge),
        [below, above] = [state.edges[at - 1] ?? 0, state.edges[at + 1] ?? 1];
      const stays = `; ${names[at]} stays at ${plain(state.edges[at])}.`;
      state.refused = "";
      if (text === "") return show(); // what an unfinished number is, too
      if (!(rounded > 0 && rounded < 1)) state.refused = `${text} is not between 0 and 1${stays}`;
      else if (rounded <= Math.fround(below))
        state.refused = `${text} is not above ${plain(below)}, where ${names[at - 1]} begins${stays}`;
      else if (rounded >= Math.fround(above))
        state.refused = `${text} is not below ${plain(above)}, where ${names[at + 1]} begins${stays}`;
      else state.edges[at] = edge;
      show();
    };
    /** Say of which edge the counts are, where the page has none of the very one. */
    const told = () =>
      state.edges.flatMap((edge, at) => {
        const { place, more } = find(edge);
        if (!more) return [];
        const [next, typed] = [place === null ? 1 : edgeOf(place), plain(edge)];
        const nearest = `${names[at]} from ${plain(next)}, the nearest edge above ${typed} that this page has counts for`;
        return `Counts are of ${nearest} (events between the two: ${say(more)} at most).`;
      });
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
      const now = outcome(places(), state.costs);
      rows.forEach(({ range, number }, at) => {
        range.value = String(stepOf(state.edges[at]));
        range.setAttribute("aria-valuetext", plain(state.edges[at]));
        number.value = plain(state.edges[at]);
      });
      note.textContent = [state.refused, ...told()].filter(Boolean).join("\n");
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
          Object.assign(state, given());
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
      note,
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
    const [, ...higher] = places();
    const every = usable.map((place, at) => [
      at,
      outcome([place, ...higher.map((other) => (other === null ? null : Math.max(other, place)))], state.costs),
    ]);
    const steps = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * (usable.length - 1)));
    const x = {
      name: `edge of ${names[0]}`,
      low: 0,
      high: usable.length - 1,
      ticks: [...new Set(steps)].map((at) => [at, say(found.sweep.edges[usable[at]])]),
    };
    const line = (title, name, value, limits, log) => {
      const points = every.map(([at, one]) => [at, value(one)]),
        mark = stepOf(state.edges[0]);
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
