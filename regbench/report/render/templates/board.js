"use strict";
// Sorting, filtering and the scatter plot of each section; without this script the page still says everything.
const SVG = "http://www.w3.org/2000/svg";

function sortRows(rows, column, descending) {
  const key = (row) => {
    const cell = row.cells[column], number = cell.dataset.sort;
    if (number === undefined) return cell.textContent.trim().toLowerCase();
    return number === "" ? null : Number(number);
  };
  return rows.map((row) => [key(row), row]).sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what has no number comes last, either way
    const order = a < b ? -1 : a > b ? 1 : 0;
    return descending ? -order : order;
  }).map(([, row]) => row);
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.tBodies[0].append(...sortRows([...table.tBodies[0].rows], column, descending));
  }));
}

function filterable(section, table) {
  const text = section.querySelector("input.filter"), supervision = section.querySelector("select.supervision");
  const rows = [...table.tBodies[0].rows], status = section.querySelector("output");
  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      const found = words.every((word) => row.textContent.toLowerCase().includes(word));
      row.hidden = !(found && (supervision.value === "" || row.dataset.supervision === supervision.value));
    });
    status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  text.addEventListener("input", apply);
  supervision.addEventListener("change", apply);
  apply();
}

// A box for each column that may be left out; the first `kept`, which hold the result, stay.
function choosable(section, table, kept) {
  const boxes = section.querySelector(".columns div");
  [...table.tHead.rows[0].cells].slice(kept).forEach((head) => {
    const label = document.createElement("label"), box = document.createElement("input");
    Object.assign(box, { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      [...table.rows].forEach((row) => { row.cells[head.cellIndex].hidden = !box.checked; });
    });
    label.append(box, head.textContent.trim());
    boxes.append(label);
  });
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  if (text !== undefined) made.textContent = text;
  return made;
}

function scatter(section) {
  const data = JSON.parse(section.querySelector("script[type='application/json']").textContent);
  const [across, up] = section.querySelectorAll("select.method"), plot = section.querySelector("svg.scatter");
  if (!plot) return;
  const draw = () => {
    const a = data.rows[across.value], b = data.rows[up.value];
    const most = data.limit, within = (value) => Math.min(value, most) / most;
    const x = (value) => 50 + 340 * within(value), y = (value) => 370 - 340 * within(value);
    plot.replaceChildren(element("title", {}, `Error of each test pair, px: across ${a.name}, up ${b.name}`));
    for (let tick = 0; tick <= 4; tick += 1) {
      const value = most * tick / 4, shown = Number.isInteger(value) ? value : value.toFixed(1);
      plot.append(element("line", { x1: x(value), x2: x(value), y1: 30, y2: 370, class: "grid" }),
        element("line", { x1: 50, x2: 390, y1: y(value), y2: y(value), class: "grid" }),
        element("text", { x: x(value), y: 388, "text-anchor": "middle" }, shown),
        element("text", { x: 44, y: y(value) + 4, "text-anchor": "end" }, shown));
    }
    plot.append(element("line", { x1: x(0), y1: y(0), x2: x(most), y2: y(most), stroke: "#767676" }));
    a.errors.forEach((error, i) => plot.append(element("circle",
      { cx: x(error).toFixed(1), cy: y(b.errors[i]).toFixed(1), r: 3, fill: "#0072b2", "fill-opacity": 0.45 })));
    const verdict = data.better[`${a.row},${b.row}`] || data.better[`${b.row},${a.row}`];
    section.querySelector(".between").textContent = a === b ? "Choose two methods."
      : verdict || `Row ${a.row} and row ${b.row} are not separated.`;
  };
  [across, up].forEach((select) => select.addEventListener("change", draw));
  draw();
}

document.querySelectorAll("section.board").forEach((section) => {
  const table = section.querySelector("table.main");
  sortable(table);
  filterable(section, table);
  choosable(section, table, 6);
  scatter(section);
});
