// The turns of a call as a waterfall: a bar a turn, from the rows of the table that has the same figures.
"use strict";

(() => {
  const canvas = document.getElementById("waterfall");
  const table = document.getElementById("turns");
  if (!canvas || !table || !window.Chart) return;

  const SHOWN = 12;
  const PARTS = [
    ["storing", "--bar-ours", "relay: storing"],
    ["asking", "--bar-ours", "relay: asking"],
    ["thinking", "--bar-thinking", "client, to its first word"],
    ["sending", "--bar-ours", "relay: sending"],
    ["speaking", "--bar-speaking", "client, the rest"],
    ["playing", "--bar-telephone", "telephone"],
  ];

  // What a colour of the style sheet is now: `light-dark()` is known to the browser, not to a canvas.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  function colour(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  const marks = {
    id: "fillers",
    afterDatasetsDraw(chart) {
      const { ctx, scales } = chart;
      ctx.save();
      ctx.fillStyle = colour("--machine");
      for (const [row, times] of (chart.$fillers ?? []).entries()) {
        for (const at of times) ctx.fillRect(scales.x.getPixelForValue(at) - 1, scales.y.getPixelForValue(row) - 9, 2, 18);
      }
      ctx.restore();
    },
  };

  function read() {
    const rows = [...table.querySelectorAll("tr[data-turn]")].slice(-SHOWN);
    return {
      labels: rows.map((row) => `turn ${row.querySelector("th").textContent}`),
      parts: rows.map((row) => JSON.parse(row.dataset.parts)),
      fillers: rows.map((row) => JSON.parse(row.dataset.fillers)),
    };
  }

  const chart = new Chart(canvas, {
    type: "bar",
    data: { labels: [], datasets: [] },
    options: {
      indexAxis: "y",
      animation: false,
      maintainAspectRatio: false,
      plugins: { legend: { display: false }, tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${(item.raw[1] - item.raw[0]).toFixed(1)} ms` } } },
      scales: { x: { beginAtZero: true, title: { display: true, text: "ms after the caller's last word" } }, y: {} },
    },
    plugins: [marks],
  });

  function draw() {
    const { labels, parts, fillers } = read();
    canvas.closest("figure").hidden = labels.length === 0;
    canvas.parentElement.style.height = `${Math.max(3, labels.length) * 24 + 60}px`;
    chart.$fillers = fillers;
    chart.data.labels = labels;
    chart.data.datasets = PARTS.map(([name, variable, label]) => ({
      label,
      data: parts.map((each) => each[name] ?? null),
      backgroundColor: colour(variable),
      grouped: false,
      barThickness: 14,
    }));
    for (const axis of Object.values(chart.options.scales)) {
      axis.grid = { color: colour("--grid") };
      axis.ticks = { color: colour("--dim") };
      if (axis.title) axis.title.color = colour("--dim");
    }
    chart.update();
  }

  draw();
  new MutationObserver(draw).observe(table, { childList: true, subtree: true, attributes: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
