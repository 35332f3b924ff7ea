// The charts of the insights, drawn from the rows of the tables beside them: what is read and what is seen is one.
(() => {
  "use strict";

  /** @typedef {import("uplot")} Plot */
  /** @typedef {import("uplot").Series} Series */

  /** @type {HTMLElement | null} */
  const page = document.querySelector(".insights");
  if (!page) return;
  const HEIGHT = 200;
  const STEPS = { hours: [1, 2, 3, 4, 6, 12], seconds: [5, 10, 15, 20, 30, 60, 120, 300] }; // between marks
  // In English as the tables beside: day before month, 24 hours.
  const language = document.documentElement.lang;
  const locale = language === "en" ? "en-GB" : language;
  const timeZone = page.dataset.timeZone ?? "UTC";
  const moment = new Intl.DateTimeFormat(locale, {
    timeZone,
    ...("byDay" in page.dataset ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" }),
  });
  /** @type {{place: HTMLElement, plot: Plot | null}[]} */
  const charts = [];

  const probe = document.createElement("i");
  probe.hidden = true;
  page.append(probe);
  /**
   * A colour of the theme as the canvas knows colours.
   * @param {string} name
   */
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  /** @param {string} line its colour */
  const hatch = (line) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const context = tile.getContext("2d");
    if (!context) return line;
    context.strokeStyle = line;
    context.lineWidth = 2;
    context.beginPath();
    for (const from of [-8, 0, 8]) {
      context.moveTo(from, 8);
      context.lineTo(from + 8, 0);
    }
    context.stroke();
    return context.createPattern(tile, "repeat") ?? line;
  };

  /**
   * Columns of numbers: of x first. A row without one leaves a gap.
   * @param {HTMLElement} place
   * @returns {[xs: number[], ...columns: (number | null)[][]]}
   */
  const columns = (place) => {
    const table = document.getElementById(place.dataset.table ?? "");
    const rows = table instanceof HTMLTableElement ? [...(table.tBodies[0]?.rows ?? [])] : [];
    /** @param {string} name */
    const column = (name) => rows.map((row) => (name in row.dataset ? Number(row.dataset[name]) : null));
    /** @type {[xs: number[], ...columns: (number | null)[][]]} */
    const data = [rows.map((row) => Number(row.dataset.x)), column(place.dataset.y ?? "")];
    if (place.dataset.part) data.push(column(place.dataset.part));
    if (place.dataset.target) data.push(rows.map(() => Number(place.dataset.target)));
    return data;
  };

  /**
   * @param {HTMLElement} place
   * @param {boolean} isTime
   * @returns {Series[]}
   */
  const series = (place, isTime) => {
    const accent = colour("accent");
    const bars = place.dataset.kind === "bars";
    const shape = bars ? uPlot.paths.bars?.({ size: [0.85, 200], align: isTime ? 0 : 1 }) : undefined;
    /** @type {Series[]} */
    const list = [
      {},
      {
        label: place.dataset.label,
        stroke: accent,
        width: bars ? 1 : 2,
        fill: bars ? colour("accent-soft") : undefined,
        paths: shape,
        points: { show: !bars, size: 5, fill: accent },
      },
    ];
    if (place.dataset.part) {
      list.push({
        label: place.dataset.part,
        stroke: colour("bad"),
        width: 1,
        fill: hatch(colour("bad")),
        paths: shape,
        points: { show: false },
      });
    }
    if (place.dataset.target) {
      list.push({ label: "", stroke: colour("ink-2"), width: 1.5, dash: [6, 4], points: { show: false } });
    }
    return list;
  };

  /**
   * @param {HTMLElement} place
   * @returns {Plot | null}
   */
  const draw = (place) => {
    const data = columns(place);
    place.replaceChildren();
    const [xs, ...shown] = data;
    if (!shown[0]?.some((value) => value !== null)) {
      const empty = document.createElement("p");
      empty.className = "plot-empty";
      empty.textContent = page.dataset.none ?? "";
      place.append(empty);
      return null;
    }
    const isTime = place.dataset.table === "t-time";
    const unit = place.dataset.unit;
    const ink = colour("ink-2");
    const line = { stroke: colour("line"), width: 1 };
    const most = Math.max(...shown.flat().filter((value) => value !== null));
    const axis = { stroke: ink, grid: line, ticks: line, font: `12px ${getComputedStyle(page).fontFamily}` };
    const isHour = place.dataset.table === "t-hours";
    /** @param {number} value */
    const written = (value) => (isTime ? moment.format(value * 1000) : isHour ? `${String(value).padStart(2, "0")}:00` : `${value} ${page.dataset.second}`);
    return new uPlot(
      {
        width: Math.max(place.clientWidth, 120),
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), timeZone),
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: isTime, ...(isTime ? {} : { range: [0, isHour ? 24 : (xs.at(-1) ?? 0) + 5] }) },
          y: { range: [0, unit === "%" && most > 50 ? 100 : most * 1.1 || 1] },
        },
        axes: [
          { ...axis, space: 60, incrs: isTime ? undefined : isHour ? STEPS.hours : STEPS.seconds, values: (_, splits) => splits.map(written) },
          { ...axis, size: 60, values: (_, splits) => splits.map((value) => (unit === "%" ? `${value}%` : unit ? `${value} ${unit}` : value)) },
        ],
        series: series(place, isTime),
      },
      data,
      place,
    );
  };

  const drawAll = () => {
    for (const chart of charts) {
      chart.plot?.destroy();
      chart.plot = draw(chart.place);
    }
  };

  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = charts.find((chart) => chart.place === target)?.plot;
      if (plot && plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: HEIGHT });
    }
  });
  /** @type {NodeListOf<HTMLElement>} */
  const places = document.querySelectorAll(".plot");
  for (const place of places) {
    charts.push({ place, plot: null });
    sized.observe(place);
  }
  drawAll();
  document.addEventListener("callboard:theme", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
