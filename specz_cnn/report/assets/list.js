// The list of spectra: filters, order, and only as many elements as fit on the screen.

const ROW_HEIGHT = 26;
const RANGES = [["z", "z"], ["confidence", "confidence"], ["snr", "S/N"]];
const VERDICT_SIGNS = { accept: "✓", correct: "✎", reject: "✗" };
const $ = (id) => document.getElementById(id);
const column = page.columns;

const LIST_COLUMNS = [
  { title: "spectrum", value: (row) => spectrumName(row) },
  { title: "z", value: (row) => column.z[row], text: (row) => number(column.z[row], 3) },
  { title: "conf", value: (row) => column.confidence[row], text: (row) => number(column.confidence[row], 3), hint: "confidence" },
  { title: "S/N", value: (row) => column.snr[row], text: (row) => number(column.snr[row], 1) },
  { title: "flags", value: (row) => column.flags[row], text: (row) => flagSigns(row), hint: "warning flags" },
  { title: "✓", value: (row) => entries.get(row)?.verdict ?? "", text: (row) => VERDICT_SIGNS[entries.get(row)?.verdict] ?? "", hint: "verdict" },
];

let order = Array.from({ length: rowCount }, (_, row) => row);
let sorting = { index: -1, down: false };

function number(value, digits) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function spectrumName(row) {
  if (column.plate[row] < 0) return column.file[row] || `row ${row + 1}`;
  return [column.plate[row], column.mjd[row], column.fiber[row]].map((n, i) => String(n).padStart([4, 5, 4][i], "0")).join("-");
}

function flagsOf(row) {
  // Bits beyond 30 would not survive the operators of JavaScript on numbers.
  return page.flags.filter((flag) => Math.floor(column.flags[row] / 2 ** flag.bit) % 2 === 1);
}

// Initials, and of flags that share them as much of the last word as tells them apart: NQ for NOT_QSO, LCON for
// LOW_CONFIDENCE beside LCOV. The words are in the tool tip and above the spectrum.
const FLAG_SIGNS = new Map(page.flags.map(({ name }) => {
  const sign = (other, length) => {
    const words = other.split("_");
    const last = words.pop();
    return words.map((word) => word[0]).join("") + last.slice(0, length);
  };
  let length = 1;
  while (length < name.length && page.flags.some((flag) => flag.name !== name && sign(flag.name, length) === sign(name, length))) length++;
  return [name, sign(name, length)];
}));

function flagSigns(row) {
  return flagsOf(row).map((flag) => FLAG_SIGNS.get(flag.name)).join(" ");
}

function buildList() {
  LIST_COLUMNS.forEach(({ title, hint }, index) => {
    const button = document.createElement("button");
    button.textContent = title;
    button.title = `Sort by ${hint ?? title}`;
    button.onclick = () => sortBy(index);
    $("list-head").append(button);
  });
  const choices = [["", "all flags"], ["none", "without flag"], ["any", "with any flag"], ...page.flags.map((flag) => [flag.name, flag.name])];
  $("filter-flag").append(...choices.map(([value, text]) => new Option(text, value)));
  for (const [name, text] of RANGES) {
    const label = document.createElement("label");
    label.append(text, document.createElement("span"));
    for (const end of ["min", "max"]) {
      const input = Object.assign(document.createElement("input"), { id: `${name}-${end}`, inputMode: "decimal", placeholder: end === "min" ? "from" : "to", oninput: applyFilters });
      input.setAttribute("aria-label", `${text} ${end === "min" ? "from" : "to"}`);
      label.lastChild.append(input);
    }
    $("ranges").append(label);
  }
  $("search").oninput = $("filter-state").onchange = $("filter-flag").onchange = applyFilters;
  $("clear-filters").onclick = clearFilters;
  $("list").onscroll = drawList;
  $("list-rows").onclick = (event) => {
    const element = event.target.closest(".row");
    if (element) show(Number(element.dataset.row));
  };
  new ResizeObserver(drawList).observe($("list"));
}

function clearFilters() {
  for (const input of $("filters").querySelectorAll("input, select")) input.value = "";
  applyFilters();
}

const FILTERS = () => [...$("filters").querySelectorAll("input, select")];

// Filters and order are there again when the page is opened again.
function keepFilters() {
  const values = Object.fromEntries(FILTERS().map(({ id, value }) => [id, value]).filter(([, value]) => value));
  storageSet(`${STORE}filters`, JSON.stringify({ values, sorting }));
}

function recoverFilters() {
  try {
    const kept = JSON.parse(storageGet(`${STORE}filters`) ?? "{}");
    for (const element of FILTERS()) if (kept.values?.[element.id]) element.value = kept.values[element.id];
    if (LIST_COLUMNS[kept.sorting?.index]) { sorting = kept.sorting; showSorting(); }
  } catch { /* a spoilt setting is no setting */ }
}

function limit(id, missing) {
  const value = parseFloat($(id).value.replace(",", "."));
  return Number.isFinite(value) ? value : missing;
}

function applyFilters() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = $("filter-state").value, flag = $("filter-flag").value;
  const ranges = RANGES.map(([name]) => [column[name], limit(`${name}-min`, -Infinity), limit(`${name}-max`, Infinity)]);
  const passes = (row) => {
    const entry = entries.get(row);
    const verdict = entry?.verdict ?? "";
    if (state === "todo" ? verdict : state === "done" ? !verdict : state && verdict !== state) return false;
    const flags = flag ? flagsOf(row).map((item) => item.name) : [];
    if (flag === "none" ? column.flags[row] !== 0 : flag === "any" ? column.flags[row] === 0 : flag && !flags.includes(flag)) return false;
    for (const [values, low, high] of ranges) {
      // A missing value passes only where no limit is set.
      if ((low > -Infinity || high < Infinity) && !(values[row] !== null && values[row] >= low && values[row] <= high)) return false;
    }
    const text = `${spectrumName(row)} ${column.file[row]} ${column.class_pipe[row]} ${entry?.comment ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  order = Array.from({ length: rowCount }, (_, row) => row).filter(passes);
  sortOrder();
  keepFilters();
  $("count").textContent = order.length === rowCount ? `${rowCount} spectra` : `${order.length} of ${rowCount} spectra`;
  $("clear-filters").hidden = order.length === rowCount;
  revealRow(current.row);
}

function sortBy(index) {
  if (sorting.index === index && sorting.down) sorting = { index: -1, down: false };
  else sorting = { index, down: sorting.index === index };
  showSorting();
  applyFilters();
}

function showSorting() {
  [...$("list-head").children].forEach((button, i) => {
    const sign = i !== sorting.index ? "" : sorting.down ? " ▾" : " ▴";
    button.textContent = LIST_COLUMNS[i].title + sign;
  });
}

function sortOrder() {
  if (sorting.index < 0) return;
  const { value } = LIST_COLUMNS[sorting.index];
  const sign = sorting.down ? -1 : 1;
  const keys = new Map(order.map((row) => [row, value(row)]));
  order.sort((a, b) => {
    const [p, q] = [keys.get(a), keys.get(b)];
    if (p === null || q === null) return (p === null) - (q === null) || a - b; // unknown ones last in either direction
    return sign * (typeof p === "string" ? p.localeCompare(q) : p - q) || a - b;
  });
}

function drawList() {
  const box = $("list"), rows = $("list-rows");
  rows.style.height = `${order.length * ROW_HEIGHT}px`;
  const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT) - 3);
  const last = Math.min(order.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW_HEIGHT) + 3);
  const elements = [];
  for (let i = first; i < last; i++) elements.push(rowElement(order[i], i));
  rows.replaceChildren(...elements);
}

function rowElement(row, position) {
  const element = document.createElement("div");
  element.className = "row";
  element.style.top = `${position * ROW_HEIGHT}px`;
  element.dataset.row = row;
  element.setAttribute("role", "row");
  element.setAttribute("aria-selected", String(row === current.row));
  LIST_COLUMNS.forEach(({ value, text }, i) => {
    const cell = document.createElement("span");
    cell.setAttribute("role", "gridcell");
    cell.textContent = text ? text(row) : value(row);
    if (i === 4) { cell.className = "flagged"; cell.title = flagsOf(row).map((flag) => `${flag.name}: ${flag.line}`).join("\n"); }
    if (i === 5) cell.className = entries.get(row)?.verdict ?? "";
    element.append(cell);
  });
  return element;
}

function revealRow(row) {
  const position = order.indexOf(row);
  const box = $("list");
  if (position >= 0) {
    const top = position * ROW_HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW_HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW_HEIGHT - box.clientHeight;
  }
  drawList();
}

// The row so many places further in the list; from a row that the filters hide, the next one that they show.
function neighbour(row, distance) {
  if (!order.length) return row;
  const position = order.indexOf(row);
  if (position < 0) return order.find((other) => other > row) ?? order[0];
  return order[Math.min(order.length - 1, Math.max(0, position + distance))];
}

function nextToDo(row) {
  const start = order.indexOf(row);
  for (let i = 1; i <= order.length; i++) {
    const other = order[(start + i) % order.length];
    if (!entries.get(other)?.verdict) return other;
  }
  return null;
}
