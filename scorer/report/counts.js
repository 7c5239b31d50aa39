/** What edges do to the events, from the counts that the report carries at some edges (`sweep`). */
const counting = (found, names) => {
  const sweep = found.sweep;
  /** Places of the sweep where an edge may lie: between 0 and 1, without them. */
  const usable = sweep.edges
    .map((edge, place) => [edge, place])
    .filter(([edge]) => edge > 0 && edge < 1)
    .map(([, place]) => place);

  /**
   * Return where an edge is counted: the first place that is not below it, null above all of them. Up to `more` events
   * between the edge and that place are left out: 0 where the count is exact.
   */
  const find = (edge) => {
    const rounded = Math.fround(edge);
    const place = sweep.edges.findIndex((one) => one >= rounded);
    if (place < 0) return { place: null, more: sweep.between.at(-1) };
    return { place, more: sweep.edges[place] === rounded ? 0 : sweep.between[place - 1] };
  };

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

  /** The edge in the fewest digits that mean the same 32-bit number. */
  const short = (edge) => {
    for (let digits = 1; digits < 10; digits += 1)
      if (Math.fround(Number(edge.toPrecision(digits))) === Math.fround(edge)) return Number(edge.toPrecision(digits));
    return edge;
  };
  /** Write an edge without an exponent: to YAML, 1e-7 is a word. */
  const plain = (edge) => {
    const [digits, power] = String(edge).split("e-");
    return power ? `0.${"0".repeat(Number(power) - 1)}${digits.replace(".", "")}` : digits;
  };

  return { usable, find, outcome, short, plain };
};
