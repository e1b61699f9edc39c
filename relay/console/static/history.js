// Draws the table of days: calls by how they ended, and the first words. The table stays, with the same figures.
"use strict";

(() => {
  const table = document.getElementById("days");
  const charts = document.querySelector("[data-charts]");
  if (!table || !charts || typeof Chart === "undefined") return;

  const rows = [...table.tBodies[0].rows];
  const cells = (column) => rows.map((row) => row.cells[column].textContent.trim());
  const figures = (column) => cells(column).map((text) => (text === "–" ? null : parseFloat(text)));
  const heads = [...table.tHead.rows[0].cells];
  const kinds = heads.map((head, column) => [head.dataset.kind, head.textContent, column]).filter(([kind]) => kind);
  const last = heads.length;
  const PAINT = { well: "--client", other: "--machine", ill: "--bad" };
  const made = [];

  // A canvas knows no CSS variable, and `light-dark()` only as an element has it: so an element is asked.
  function colour(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  function draw() {
    while (made.length) made.pop().destroy();
    const text = colour("--ink");
    const axis = { ticks: { color: text }, grid: { color: colour("--grid") }, beginAtZero: true };
    const options = (stacked) => ({
      animation: false,
      maintainAspectRatio: false,
      plugins: { legend: { labels: { color: text, usePointStyle: true, pointStyle: stacked ? "rect" : "line" } } },
      scales: { x: { ...axis, stacked }, y: { ...axis, stacked, ticks: stacked ? { ...axis.ticks, precision: 0 } : axis.ticks } },
    });
    made.push(
      new Chart(document.getElementById("calls-chart"), {
        type: "bar",
        data: {
          labels: cells(0),
          datasets: kinds.map(([kind, label, column]) => ({
            label,
            data: figures(column),
            backgroundColor: colour(PAINT[kind]),
            maxBarThickness: 64,
          })),
        },
        options: options(true),
      }),
      new Chart(document.getElementById("words-chart"), {
        type: "line",
        data: {
          labels: cells(0),
          datasets: [
            { label: "p50", data: figures(last - 2), borderColor: colour("--client"), backgroundColor: colour("--client") },
            { label: "p95", data: figures(last - 1), borderColor: colour("--machine"), backgroundColor: colour("--machine"), borderDash: [6, 4] },
          ],
        },
        options: options(false),
      }),
    );
  }

  charts.hidden = false;
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
