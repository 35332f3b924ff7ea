// The charts of the insights, drawn from the rows of the tables beside them: what is read and what is seen is one.
(() => {
  "use strict";

  const page = document.querySelector(".insights");
  const HEIGHT = 200;
  const STEPS = { hours: [1, 2, 3, 4, 6, 12], seconds: [5, 10, 15, 20, 30, 60, 120, 300] }; // between marks
  const timeZone = page.dataset.timeZone;
  const moment = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    ...("byDay" in page.dataset ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" }),
  });
  const charts = [];

  // A colour of the theme as the canvas knows colours.
  const probe = document.createElement("i");
  probe.hidden = true;
  page.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  const hatch = (line) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const context = tile.getContext("2d");
    context.strokeStyle = line;
    context.lineWidth = 2;
    context.beginPath();
    for (const from of [-8, 0, 8]) {
      context.moveTo(from, 8);
      context.lineTo(from + 8, 0);
    }
    context.stroke();
    return context.createPattern(tile, "repeat");
  };

  // Columns of numbers; a row without one leaves a gap.
  const columns = (place) => {
    const rows = [...document.getElementById(place.dataset.table).tBodies[0].rows];
    const column = (name) => rows.map((row) => (name in row.dataset ? Number(row.dataset[name]) : null));
    const data = [column("x"), column(place.dataset.y)];
    if (place.dataset.part) data.push(column(place.dataset.part));
    if (place.dataset.target) data.push(rows.map(() => Number(place.dataset.target)));
    return data;
  };

  const series = (place, isTime) => {
    const accent = colour("accent");
    const bars = place.dataset.kind === "bars";
    const shape = bars ? uPlot.paths.bars({ size: [0.85, 200], align: isTime ? 0 : 1 }) : undefined;
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
      list.push({ label: "target", stroke: colour("ink-2"), width: 1.5, dash: [6, 4], points: { show: false } });
    }
    return list;
  };

  const draw = (place) => {
    const data = columns(place);
    place.replaceChildren();
    if (!data[1].some((value) => value !== null)) {
      const empty = document.createElement("p");
      empty.className = "plot-empty";
      empty.textContent = "No data in this window";
      place.append(empty);
      return null;
    }
    const isTime = place.dataset.table === "t-time";
    const unit = place.dataset.unit;
    const ink = colour("ink-2");
    const line = { stroke: colour("line"), width: 1 };
    const most = Math.max(...data.slice(1).flat().filter((value) => value !== null));
    const axis = { stroke: ink, grid: line, ticks: line, font: `12px ${getComputedStyle(page).fontFamily}` };
    const isHour = place.dataset.table === "t-hours";
    const written = (value) => (isTime ? moment.format(value * 1000) : isHour ? `${value}:00` : `${value} s`);
    return new uPlot(
      {
        width: Math.max(place.clientWidth, 120),
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), timeZone),
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: isTime, range: isTime ? undefined : [0, isHour ? 24 : data[0].at(-1) + 5] },
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
      const { plot } = charts.find((chart) => chart.place === target);
      if (plot && plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: HEIGHT });
    }
  });
  for (const place of document.querySelectorAll(".plot")) {
    charts.push({ place, plot: null });
    sized.observe(place);
  }
  drawAll();
  document.addEventListener("callboard:theme", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
