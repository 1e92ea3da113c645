// What is on the screen, and what keys, mouse and buttons do to it.

const Z_LIMITS = [Math.log(0.99), Math.log1p(8)]; // of the slider, in ln(1 + z)
const FINE_REACH = 3000 / SPEED_OF_LIGHT; // of the fine slider
const STEPS = { small: 15, normal: 150, large: 1500 }; // km/s
const CONFIDENCES = ["no idea", "a guess", "likely", "certain"];

const current = {
  row: -1, spectrum: null, pdf: null, smoothed: null, z: null, zFine: null, view: null, cursor: null,
  smooth: 2, band: true, weak: true, overlay: true, atmosphere: true, hidden: new Set(), model: null, frame: null, menuAt: null, switchTime: 0,
};

// ---------------------------------------------------------------------------------------------------- the spectrum

async function show(row) {
  const started = performance.now();
  current.row = row;
  const { spectrum, pdf } = await load(row);
  if (current.row !== row) return; // another one was asked for meanwhile
  Object.assign(current, { spectrum, pdf, z: column.z[row] ?? column.z_pipe[row] ?? null, cursor: null });
  current.zFine = current.z;
  const known = entries.get(row);
  if (known?.z_vi !== undefined) current.z = current.zFine = known.z_vi;
  closeMenu();
  if (spectrum) {
    current.smoothed = smoothFlux(spectrum, current.smooth);
    fullView();
  }
  $("message").hidden = Boolean(spectrum);
  $("message").textContent = column.error[row] || "There is no spectrum for this row.";
  showWords();
  showVerdict();
  revealRow(row);
  draw();
  $("work").dataset.row = row;
  storageSet(`${STORE}place`, String(row));
  current.switchTime = performance.now() - started;
  for (const distance of [1, -1, 2]) load(neighbour(row, distance));
}

function fullView() {
  const { wavelength } = current.spectrum;
  current.view = { x0: wavelength[0], x1: wavelength[wavelength.length - 1], flux: null };
}

function showWords() {
  const row = current.row;
  $("name").textContent = spectrumName(row);
  showLinks(row);
  showSolutions();
  $("classes").classList.remove("asked");
  const numbers = [
    ["z", column.z[row], 4, column.z_err[row]], ["confidence", column.confidence[row], 3], ["p(quasar)", column.p_qso[row], 3],
    ["S/N", column.snr[row], 1],
  ];
  const parts = numbers.filter(([, value]) => value !== null).map(([name, value, digits, error]) => {
    const text = `${value.toFixed(digits)}${error ? ` ± ${error.toFixed(digits)}` : ""}`;
    const bold = Object.assign(document.createElement("b"), { textContent: text });
    const span = document.createElement("span");
    span.append(`${name} `, bold, "   ");
    return span;
  });
  const position = column.ra[row] === null ? "" : `RA ${column.ra[row].toFixed(5)} Dec ${column.dec[row]?.toFixed(5)}`;
  const kind = column.class_pipe[row] ? `pipeline: ${column.class_pipe[row]}   ` : "";
  $("numbers").replaceChildren(...parts, kind + position);
  $("numbers").style.whiteSpace = "pre-wrap";
  const flags = flagsOf(row).map((flag) => Object.assign(document.createElement("span"), { textContent: `⚑ ${flag.line}`, title: flag.name }));
  $("flags").replaceChildren(...(flags.length ? flags : ["no warning flag"]));
}

// Links that open elsewhere when they are clicked; the page itself loads nothing.
function showLinks(row) {
  const ra = column.ra[row], dec = column.dec[row];
  const places = ra === null || dec === null ? [] : [
    ["SkyServer", `https://skyserver.sdss.org/dr16/en/tools/explore/summary.aspx?ra=${ra}&dec=${dec}`],
    ["Legacy Surveys", `https://www.legacysurvey.org/viewer?ra=${ra}&dec=${dec}&layer=ls-dr10&zoom=15&mark=${ra},${dec}`],
  ];
  $("links").replaceChildren(...places.map(([text, href]) => Object.assign(document.createElement("a"), { textContent: text, href, target: "_blank", rel: "noopener noreferrer" })));
}

function candidates() {
  const row = current.row;
  return [
    { key: "e", name: "best", value: column.z[row], colour: "best" },
    { key: "w", name: "runner-up", value: column.z_second[row], colour: "second", share: column.p_second[row] },
    { key: "p", name: "pipeline", value: column.z_pipe[row], colour: "pipeline" },
    { key: "x", name: "cross-check", value: column.z_check[row], colour: "check" },
  ].filter(({ value }) => value !== null && value > -0.5);
}

// Everything that depends on z, smoothing or the view, at most once for each frame of the screen.
let drawPending = false;
function requestDraw() {
  if (drawPending) return;
  drawPending = true;
  requestAnimationFrame(() => { drawPending = false; draw(); });
}

function draw() {
  showRedshift();
  const { spectrum, smoothed, view, z } = current;
  if (!spectrum) return;
  // The mouse moves far more often than the redshift.
  if (current.overlay && spectrum.fitted?.z !== z) spectrum.fitted = { z, model: fitModel(spectrum, z) };
  current.model = current.overlay ? spectrum.fitted.model : null;
  const options = { smooth: current.smooth, band: current.band, weak: current.weak, atmosphere: current.atmosphere, hidden: current.hidden, model: current.model };
  const [y0, y1] = view.flux ?? fluxLimits(spectrum, smoothed, view.x0, view.x1);
  const main = { x0: view.x0, x1: view.x1, y0, y1 };
  current.frame = { ...drawSpectrum($("plot"), spectrum, smoothed, main, z, { margin: MARGIN, detail: true, ...options }), view: main };
  drawZoom(options);
}

function drawZoom(options) {
  const canvas = $("zoom");
  if (!canvas.offsetParent) return;
  const { spectrum, smoothed, z } = current;
  const centre = current.cursor ?? mainLine();
  const view = { x0: centre * Math.exp(-ZOOM_HALF_WIDTH), x1: centre * Math.exp(ZOOM_HALF_WIDTH) };
  [view.y0, view.y1] = fluxLimits(spectrum, smoothed, view.x0, view.x1, false);
  drawSpectrum(canvas, spectrum, smoothed, view, z, { margin: ZOOM_MARGIN, detail: false, ...options });
}

// The strongest line in sight, for the magnifier before the mouse has been anywhere.
function mainLine() {
  const { wavelength } = current.spectrum;
  const [first, last] = [wavelength[0], wavelength[wavelength.length - 1]];
  const z = column.z[current.row] ?? 0;
  const rest = [1215.67, 1549.06, 2798.75, 1908.73, 6564.61, 4862.68].find((line) => line * (1 + z) > first * 1.01 && line * (1 + z) < last * 0.99);
  return rest ? rest * (1 + z) : Math.sqrt(first * last);
}

function showRedshift() {
  const { z } = current;
  if (document.activeElement !== $("z")) $("z").value = z === null ? "" : z.toFixed(5);
  showCandidates();
  if (z !== null) $("coarse").value = Math.log1p(z);
  if (z !== null && current.zFine !== null) $("fine").value = (Math.log1p(z) - Math.log1p(current.zFine)) / FINE_REACH;
  const best = column.z[current.row];
  const offset = z === null || best === null ? null : (Math.log1p(z) - Math.log1p(best)) * SPEED_OF_LIGHT;
  $("offset").textContent = offset === null ? "" : Math.abs(offset) < 1 ? "at the best redshift" : `${offset > 0 ? "+" : "−"}${Math.abs(offset).toFixed(0)} km/s from the best redshift`;
  drawPdf($("pdf"), current.pdf, candidates(), z, ...Z_LIMITS);
}

// Buttons are made once for each spectrum: the focus must not be lost at every move of the slider.
function showCandidates() {
  const box = $("candidates");
  if (box.dataset.row !== String(current.row)) {
    box.dataset.row = current.row;
    box.replaceChildren(...candidates().map(({ key, name, value, colour, share }) => {
      const button = document.createElement("button");
      button.dataset.value = value;
      button.style.borderLeftColor = `var(--${colour})`;
      button.append(`${name} ${value.toFixed(4)} ${share ? `(${share.toPrecision(1)}) ` : ""}`, Object.assign(document.createElement("kbd"), { textContent: key }));
      button.onclick = () => setRedshift(value);
      return button;
    }));
  }
  for (const button of box.children) button.setAttribute("aria-pressed", String(isAt(Number(button.dataset.value))));
}

// Whether the slider stands at a redshift, within 1 km/s.
function isAt(z) {
  return z !== null && current.z !== null && Math.abs(Math.log1p(current.z) - Math.log1p(z)) * SPEED_OF_LIGHT < 1;
}

function setRedshift(z, keepFine = false) {
  if (!Number.isFinite(z)) return;
  current.z = Math.expm1(Math.min(Z_LIMITS[1], Math.max(Z_LIMITS[0], Math.log1p(z))));
  if (!keepFine) current.zFine = current.z;
  requestDraw();
}

function stepRedshift(velocity) {
  setRedshift(Math.expm1(Math.log1p(current.z ?? 0) + velocity / SPEED_OF_LIGHT));
}

function setSmoothing(width) {
  current.smooth = Math.min(12, Math.max(0, width));
  $("smooth").value = current.smooth;
  if (current.spectrum) current.smoothed = smoothFlux(current.spectrum, current.smooth);
  requestDraw();
}

// ---------------------------------------------------------------------------------------------------- verdicts

function showVerdict() {
  const entry = entries.get(current.row) ?? {};
  for (const button of $("classes").children) button.setAttribute("aria-pressed", String(entry.class_person === Number(button.dataset.value)));
  for (const button of $("confidences").children)
    if (button.dataset.value) button.setAttribute("aria-pressed", String(entry.z_conf === Number(button.dataset.value)));
  for (const button of $("issues").children) button.setAttribute("aria-pressed", String(issuesOf(entry).includes(button.dataset.value)));
  for (const name of ["accept", "correct", "reject"]) $("verdicts").querySelector(`.${name}`).setAttribute("aria-pressed", String(entry.verdict === name));
  if (document.activeElement !== $("comment")) $("comment").value = entry.comment ?? "";
  const done = countVerdicts();
  $("progress").querySelector("i").style.width = `${(100 * done) / rowCount}%`;
  $("progress").querySelector("span").textContent = `${done} of ${rowCount} inspected`;
  $("progress").setAttribute("aria-valuenow", done);
}

// Verdicts since the last export; the browser asks before the page is left with them.
let unexported = 0;

function record(changes) {
  changeEntry(current.row, changes);
  if ("verdict" in changes) {
    unexported++;
    if (unexported % 50 === 0) toast(`${unexported} verdicts are not exported yet: they are in this browser only.`, 5000);
  }
  if (!storageWorks) toast("This browser does not keep anything: export before you close the page!", 8000);
  showVerdict();
  drawList();
}

// Without a word about it, an accepted or corrected redshift is that of a quasar and certain; the buttons show it.
function judge(verdict) {
  const row = current.row, entry = entries.get(row) ?? {};
  const best = column.z[row];
  if (verdict === "accept" && best === null) return toast("There is no redshift to accept: choose one and press c.");
  if (verdict === "correct" && current.z === null) return toast("Choose a redshift first.");
  const unmoved = isAt(best);
  if (verdict === "correct" && unmoved) {
    verdict = "accept";
    toast("The redshift is the best one: accepted.");
  } else if (verdict === "accept" && !unmoved) toast(`Accepted z = ${best.toFixed(4)}; your own is recorded by c.`);
  const rejected = verdict === "reject";
  // A verdict never says more than the inspector did: of what may be no quasar, the class is asked for.
  if (!rejected && doubtfulClass(row) && entry.class_person === undefined) {
    pending = { row, verdict };
    $("classes").classList.add("asked");
    return toast("This may be no quasar: what is it? (q quasar, g galaxy, s star, u unknown ...)", 6000);
  }
  if (!askedForName && !$("inspector").value.trim()) {
    askedForName = true;
    pending = { row, verdict };
    $("inspector").focus();
    return toast("Your name, once (Enter to go on): it stands in every verdict.", 6000);
  }
  pending = null;
  // What an earlier rejection said about class and confidence does not hold any more.
  const said = entry.verdict === "reject" && !rejected ? {} : entry;
  record({
    verdict,
    z_vi: rejected ? undefined : Number((verdict === "accept" ? best : current.z).toFixed(6)),
    class_person: said.class_person ?? (rejected ? 0 : 3),
    z_conf: rejected ? 0 : said.z_conf ?? 3,
    inspector: $("inspector").value.trim(),
    date: new Date().toISOString().slice(0, 19) + "Z",
  });
  if (verdict === "accept") setRedshift(best);
  if ($("advance").checked && neighbour(row, 1) !== row) show(neighbour(row, 1));
}

// A verdict that waits for a class, or for the name of the inspector.
let pending = null, askedForName = false;

// Whether a spectrum may be none of a quasar, by its flags or its p_qso.
function doubtfulClass(row) {
  return flagsOf(row).some((flag) => flag.name === "NOT_QSO") || (column.p_qso[row] !== null && column.p_qso[row] < 0.9);
}

function goOn() {
  $("classes").classList.remove("asked");
  const waiting = pending;
  pending = null;
  if (waiting && waiting.row === current.row) judge(waiting.verdict);
}

// The best separate solutions: peaks of p(z) at least 6000 km/s apart, with the probability near each.
function solutions(count = 5) {
  const { pdf } = current;
  if (!pdf) return [];
  const { first, step } = page.pdf, reach = Math.round(3000 / SPEED_OF_LIGHT / step);
  const left = Float64Array.from(pdf, (value) => (value > -6 ? 10 ** value : 0));
  // Stored logarithms are rounded: what they add up to is not quite one.
  const total = left.reduce((sum, value) => sum + value, 0);
  const found = [];
  while (found.length < count) {
    let top = 0;
    for (let k = 1; k < left.length; k++) if (left[k] > left[top]) top = k;
    if (!(left[top] > 1e-5)) break;
    let share = 0;
    for (let k = Math.max(0, top - 2 * reach); k <= Math.min(left.length - 1, top + 2 * reach); k++) {
      if (Math.abs(k - top) <= reach) share += left[k];
      left[k] = 0;
    }
    found.push({ value: Math.expm1(first + step * top), share: share / total });
  }
  return found;
}

function showSolutions() {
  $("solutions").replaceChildren(...solutions().map(({ value, share }, i) => {
    const button = Object.assign(document.createElement("button"), { onclick: () => setRedshift(value), title: "a peak of p(z)" });
    button.append(`${i + 1}: ${value.toFixed(3)} `, Object.assign(document.createElement("small"), { textContent: share >= 0.001 ? share.toFixed(3) : share.toExponential(0) }));
    return button;
  }));
  $("solutions").hidden = !$("solutions").children.length;
}

function toggle(name, value) {
  const entry = entries.get(current.row) ?? {};
  const changes = { [name]: entry[name] === value ? undefined : value };
  if (entry.verdict) Object.assign(changes, { [name]: value, date: new Date().toISOString().slice(0, 19) + "Z" });
  record(changes);
  if (name === "class_person" && pending) goOn();
}

function issuesOf(entry) {
  return (entry.issues ?? "").split(" ").filter(Boolean);
}

function toggleIssue(name) {
  const entry = entries.get(current.row) ?? {};
  const had = issuesOf(entry);
  const now = page.issues.map((issue) => issue.name).filter((other) => (other === name) !== had.includes(other));
  const date = entry.verdict ? { date: new Date().toISOString().slice(0, 19) + "Z" } : {};
  record({ issues: now.join(" "), ...date });
}

// Lines one by one: a line that is switched off stays off in this browser.
function showLineChoice(open = $("line-choice").hidden) {
  $("line-choice").hidden = !open;
  $("lines-button").setAttribute("aria-expanded", String(open));
  if (open) $("line-choice").querySelector("input")?.focus();
}

function hideLines(names) {
  current.hidden = new Set(names);
  storageSet("specz-cnn:hidden-lines", JSON.stringify([...current.hidden]));
  for (const box of $("line-choice").querySelectorAll("input")) box.checked = !current.hidden.has(box.value);
  requestDraw();
}

function buildLineChoice() {
  const some = (text, wanted) => Object.assign(document.createElement("button"), {
    type: "button", textContent: text, onclick: () => hideLines(page.lines.filter((line) => !wanted(line)).map(([name]) => name)),
  });
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "close", onclick: () => showLineChoice(false) });
  const buttons = Object.assign(document.createElement("p"), {});
  buttons.append(some("all", () => true), " ", some("emission", ([, , kind]) => kind === "strong" || kind === "weak"), " ", some("strong", ([, , kind]) => kind === "strong"), " ", some("none", () => false), " ", close);
  const boxes = [...new Set(page.lines.map(([name]) => name))].map((name) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: name });
    box.onchange = () => hideLines(page.lines.map(([other]) => other).filter((other) => (other === name ? !box.checked : current.hidden.has(other))));
    label.append(box, ` ${name}`);
    return label;
  });
  $("line-choice").append(buttons, ...boxes);
  let hidden = [];
  try { hidden = JSON.parse(storageGet("specz-cnn:hidden-lines") ?? "[]"); } catch { /* as if none were */ }
  hideLines(hidden);
}

function undo() {
  const row = undoChange();
  if (row === null) return toast("Nothing to undo.");
  show(row);
  toast("Undone.");
}

function exportVerdicts() {
  const done = countVerdicts();
  if (!done) return toast("There is no verdict yet.");
  const link = document.createElement("a");
  const who = $("inspector").value.trim().replace(/[^\p{L}\p{N}]+/gu, "-").toLowerCase();
  link.download = `verdicts${who ? `-${who}` : ""}.csv`;
  link.href = URL.createObjectURL(new Blob([verdictsAsCsv()], { type: "text/csv" }));
  link.click();
  unexported = 0;
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  const drafts = entries.size - done;
  toast(`${done} verdicts exported${drafts ? `; ${drafts} notes without a verdict left out` : ""}.`);
}

async function importFile(file) {
  try {
    const taken = importVerdicts(await file.text());
    toast(`${taken} verdicts imported.`);
  } catch (error) {
    toast(`${file.name}: ${error.message}`, 6000);
  }
  applyFilters();
  if (current.row >= 0) show(current.row);
}

let toastTimer = 0;
function toast(text, time = 3000) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("on"), time);
}

// ---------------------------------------------------------------------------------------------------- the mouse

function zoomView(factor, centre) {
  const { view, spectrum } = current;
  const { wavelength } = spectrum;
  const full = wavelength[wavelength.length - 1] - wavelength[0];
  const width = Math.min(full, Math.max(20, (view.x1 - view.x0) * factor));
  const share = (centre - view.x0) / (view.x1 - view.x0);
  moveView(centre - share * width - view.x0, width);
}

function moveView(shift, width = current.view.x1 - current.view.x0) {
  const { wavelength } = current.spectrum;
  const first = wavelength[0], last = wavelength[wavelength.length - 1];
  const x0 = Math.min(last - width, Math.max(first, current.view.x0 + shift));
  Object.assign(current.view, { x0, x1: x0 + width });
  requestDraw();
}

function zoomFlux(factor) {
  const { y0, y1 } = current.frame.view;
  current.view.flux = [y0 * factor, y1 * factor];
  requestDraw();
}

function connectPlot() {
  const plot = $("plot");
  let drag = null;
  plot.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!current.frame?.toWavelength) return;
    const factor = Math.exp(Math.sign(event.deltaY || event.deltaX) * 0.2);
    if (event.shiftKey) zoomFlux(factor); else zoomView(factor, current.frame.toWavelength(event.offsetX));
  }, { passive: false });
  plot.onpointerdown = (event) => {
    closeMenu();
    if (event.button !== 0) return;
    drag = { x: event.offsetX };
    plot.setPointerCapture(event.pointerId);
  };
  plot.onpointermove = (event) => {
    if (!current.frame?.toWavelength) return;
    if (drag) {
      moveView(((drag.x - event.offsetX) / current.frame.w) * (current.view.x1 - current.view.x0));
      drag.x = event.offsetX;
    }
    follow(event.offsetX);
  };
  plot.onpointerup = plot.onpointercancel = () => { drag = null; };
  plot.onpointerleave = () => { $("readout").textContent = ""; };
  plot.ondblclick = () => { if (current.spectrum) { fullView(); requestDraw(); } };
  plot.oncontextmenu = (event) => { event.preventDefault(); openMenu(event.offsetX, event.offsetY); };
}

function follow(px) {
  const wavelength = current.frame.toWavelength(px);
  const { view, spectrum, z } = current;
  if (wavelength < view.x0 || wavelength > view.x1) return;
  current.cursor = wavelength;
  const i = Math.min(spectrum.flux.length - 1, pixelAt(spectrum.wavelength, wavelength));
  const flux = spectrum.error[i] > 0 ? `flux ${spectrum.flux[i].toPrecision(3)} ± ${spectrum.error[i].toPrecision(2)}` : "no data";
  const rest = z === null ? "" : `rest ${(wavelength / (1 + z)).toFixed(1)} Å   `;
  $("readout").textContent = `${wavelength.toFixed(1)} Å   ${rest}${flux}`;
  requestDraw();
}

// Which line is this? Choosing one moves the redshift.
function openMenu(px, py) {
  if (!current.frame?.toWavelength) return;
  const wavelength = current.frame.toWavelength(px);
  const strongFirst = [...page.lines].sort((a, b) => (b[2] === "strong") - (a[2] === "strong"));
  const items = strongFirst.filter(([, rest]) => wavelength / rest > 0.99).map(([name, rest]) => {
    const button = document.createElement("button");
    button.append(name, Object.assign(document.createElement("span"), { textContent: `z = ${(wavelength / rest - 1).toFixed(4)}` }));
    button.onclick = () => { setRedshift(wavelength / rest - 1); closeMenu(); };
    return button;
  });
  const menu = $("line-menu");
  menu.replaceChildren(...items);
  menu.hidden = false;
  const box = $("plot-box");
  menu.style.left = `${Math.max(0, Math.min(px, box.clientWidth - menu.offsetWidth - 4))}px`;
  menu.style.top = `${Math.max(0, Math.min(py, box.clientHeight - menu.offsetHeight - 4))}px`;
  items[0]?.focus();
}

function closeMenu() { $("line-menu").hidden = true; }

// ---------------------------------------------------------------------------------------------------- the keys

const KEYS = [
  ["j ↓", "next spectrum", ["j", "ArrowDown"], () => show(neighbour(current.row, 1))],
  ["k ↑", "previous spectrum", ["k", "ArrowUp"], () => show(neighbour(current.row, -1))],
  ["n", "next without a verdict", ["n"], () => { const row = nextToDo(current.row); if (row === null) toast("All spectra of the list are inspected."); else show(row); }],
  ["a", "accept the best redshift", ["a"], () => judge("accept")],
  ["c", "correct: record the redshift of the slider", ["c"], () => judge("correct")],
  ["r", "reject: no redshift", ["r"], () => judge("reject")],
  ["Backspace", "take the verdict back", ["Backspace", "Delete"], () => record({ verdict: undefined, z_vi: undefined, date: undefined, inspector: undefined })],
  ["Ctrl+Z", "undo", ["Ctrl+z"], undo],
  ...page.classes.map(({ key, name, number: value }) => [key, `class: ${name}`, [key], () => toggle("class_person", value)]),
  ["0 – 3", "confidence in the redshift", ["0", "1", "2", "3"], (event) => toggle("z_conf", Number(event.key))],
  ...page.issues.map(({ key, name, text }) => [key, `something is wrong: ${text}`, [key], () => toggleIssue(name)]),
  ["m", "comment (Enter or Esc to leave)", ["m"], () => $("comment").focus()],
  ["← →", `move z by ${STEPS.normal} km/s`, ["ArrowLeft", "ArrowRight"], (event) => stepRedshift((event.key === "ArrowLeft" ? -1 : 1) * STEPS.normal)],
  ["Shift ← →", `move z by ${STEPS.large} km/s`, ["Shift+ArrowLeft", "Shift+ArrowRight"], (event) => stepRedshift((event.key === "ArrowLeft" ? -1 : 1) * STEPS.large)],
  [", .", `move z by ${STEPS.small} km/s`, [",", "."], (event) => stepRedshift((event.key === "," ? -1 : 1) * STEPS.small)],
  ["e", "z: best", ["e"], () => choose("e")],
  ["w", "z: runner-up", ["w"], () => choose("w")],
  ["p", "z: pipeline", ["p"], () => choose("p")],
  ["x", "z: cross-check", ["x"], () => choose("x")],
  ["z", "type a redshift", ["z"], () => $("z").select()],
  ["h", "which line is at the mouse?", ["h"], () => { if (current.cursor && current.frame?.x) openMenu(current.frame.x(current.cursor), 60); }],
  ["+ −", "more or less smoothing", ["+", "=", "-"], (event) => setSmoothing(current.smooth + (event.key === "-" ? -1 : 1))],
  ["d", "error band on or off", ["d"], () => $("band").click()],
  ["o", "model over the data on or off; it follows the redshift", ["o"], () => { current.overlay = !current.overlay; requestDraw(); }],
  ["i", "all lines, or the strong ones", ["i"], () => { current.weak = !current.weak; requestDraw(); }],
  ["Shift I", "choose lines one by one", ["I"], () => showLineChoice()],
  ["y", "sky and telluric bands on or off", ["y"], () => $("atmosphere").click()],
  ["v", "show the whole spectrum", ["v"], () => { if (current.spectrum) { fullView(); requestDraw(); } }],
  ["[ ]", "zoom out or in at the mouse", ["[", "]"], (event) => { if (current.spectrum) zoomView(event.key === "[" ? 1.3 : 1 / 1.3, current.cursor ?? mainLine()); }],
  ["f /", "search", ["f", "/"], () => { openList(true); $("search").focus(); }],
  ["t", "light or dark", ["t"], () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark")],
  ["?", "this list", ["?"], () => $("keys").showModal()],
];

function choose(key) {
  const candidate = candidates().find((item) => item.key === key);
  if (candidate) setRedshift(candidate.value); else toast("This spectrum has no such redshift.");
}

function pressed(event) {
  if (event.key === "Escape") {
    closeMenu();
    showLineChoice(false);
    openList(false);
    document.activeElement?.blur();
    return;
  }
  if (event.altKey || $("keys").open || isTyping(event.target)) return;
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const key = event.key.length === 1 && !control ? event.key : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const names = [control + key, (event.shiftKey ? "Shift+" : "") + control + key];
  const shifted = event.key.length > 1 && event.shiftKey;
  const binding = KEYS.find(([, , keys]) => (shifted ? keys.includes(names[1]) : keys.includes(names[0])));
  if (!binding) return;
  // In the menu of lines, the arrows walk through the lines.
  if (!$("line-menu").hidden && event.key.startsWith("Arrow")) return walkMenu(event);
  event.preventDefault();
  if (current.row >= 0 || binding[0] === "?") binding[3](event);
}

function walkMenu(event) {
  event.preventDefault();
  const items = [...$("line-menu").children];
  const next = items.indexOf(document.activeElement) + (event.key === "ArrowUp" ? -1 : 1);
  items[Math.max(0, Math.min(items.length - 1, next))]?.focus();
}

// A slider or check box takes no letters, so that the keys go on working after a click on one.
function isTyping(element) {
  if (element.tagName === "SELECT") return true;
  return element.tagName === "INPUT" && !["range", "checkbox", "file"].includes(element.type);
}

// ---------------------------------------------------------------------------------------------------- the rest

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  storageSet("specz-cnn:theme", name);
  readColours();
  if (current.row >= 0) draw();
}

function openList(open) {
  $("sidebar").classList.toggle("open", open);
  $("list-toggle").setAttribute("aria-expanded", String(open));
  if (open) drawList();
}

function choiceButtons(box, choices, name, act = (value) => toggle(name, value)) {
  for (const { value, text, key } of choices) {
    const button = Object.assign(document.createElement("button"), { type: "button", onclick: () => act(value) });
    button.dataset.value = value;
    button.append(`${text} `, Object.assign(document.createElement("kbd"), { textContent: key }));
    box.append(button);
  }
}

function connect() {
  buildList();
  connectPlot();
  choiceButtons($("classes"), page.classes.map(({ key, name, number: value }) => ({ value, text: name, key })), "class_person");
  choiceButtons($("issues"), page.issues.map(({ key, name, text }) => ({ value: name, text, key })), null, toggleIssue);
  buildLineChoice();
  choiceButtons($("confidences"), CONFIDENCES.map((text, value) => ({ value, text, key: value })), "z_conf");
  $("key-list").append(...KEYS.map(([keys, text]) => {
    const item = document.createElement("div");
    item.append(document.createElement("dt"), Object.assign(document.createElement("dd"), { textContent: text }));
    item.firstChild.append(Object.assign(document.createElement("kbd"), { textContent: keys }));
    return item;
  }));
  for (const button of document.querySelectorAll("button[data-key]"))
    button.onclick = () => KEYS.find(([, , keys]) => keys.includes(button.dataset.key))[3]({ key: button.dataset.key });
  Object.assign($("coarse"), { min: Z_LIMITS[0], max: Z_LIMITS[1], oninput: (event) => setRedshift(Math.expm1(Number(event.target.value))) });
  $("fine").oninput = (event) => setRedshift(Math.expm1(Math.log1p(current.zFine ?? 0) + FINE_REACH * Number(event.target.value)), true);
  $("fine").onchange = () => { current.zFine = current.z; requestDraw(); };
  $("z").oninput = (event) => { const z = parseFloat(event.target.value.replace(",", ".")); if (z > -0.01) setRedshift(z); };
  for (const id of ["z", "comment", "inspector", "search"]) $(id).addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); event.target.blur(); } });
  $("z").onblur = requestDraw;
  $("comment").oninput = (event) => record({ comment: event.target.value });
  $("inspector").onblur = () => { if (pending && $("inspector").value.trim()) goOn(); };
  $("pdf").onclick = (event) => {
    const share = (event.offsetX - 8) / ($("pdf").clientWidth - 16); // as drawPdf has it
    setRedshift(Math.expm1(Z_LIMITS[0] + Math.min(1, Math.max(0, share)) * (Z_LIMITS[1] - Z_LIMITS[0])));
  };
  window.addEventListener("beforeunload", (event) => { if (unexported) event.preventDefault(); });
  $("inspector").oninput = (event) => storageSet("specz-cnn:inspector", event.target.value);
  $("smooth").oninput = (event) => setSmoothing(Number(event.target.value));
  $("band").onchange = (event) => { current.band = event.target.checked; requestDraw(); };
  $("atmosphere").onchange = (event) => { current.atmosphere = event.target.checked; requestDraw(); };
  $("lines-button").onclick = () => showLineChoice();
  $("verdict").onsubmit = (event) => event.preventDefault();
  $("export").onclick = exportVerdicts;
  $("import").onclick = () => $("import-file").click();
  $("import-file").onchange = (event) => { if (event.target.files[0]) importFile(event.target.files[0]); event.target.value = ""; };
  $("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  $("help").onclick = () => $("keys").showModal();
  $("list-toggle").onclick = () => openList(!$("sidebar").classList.contains("open"));
  document.addEventListener("keydown", pressed);
  document.addEventListener("pointerdown", (event) => { if (!$("line-menu").contains(event.target)) closeMenu(); });
  // Another tab with the same page: take over what is recorded there.
  window.addEventListener("storage", (event) => {
    if (event.key?.startsWith(STORE)) { readEntry(event.key, event.newValue); showVerdict(); drawList(); }
  });
  new ResizeObserver(requestDraw).observe($("plot-box"));
}

function start() {
  if (typeof DecompressionStream === "undefined") {
    $("message").hidden = false;
    $("message").textContent = "This page needs a browser of 2023 or later (Chrome 80, Firefox 113, Safari 16.4).";
    return;
  }
  $("title").textContent = page.title;
  $("progress").setAttribute("aria-valuemax", rowCount);
  const recovered = recoverEntries();
  const dark = storageGet("specz-cnn:theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  connect();
  setTheme(dark);
  $("inspector").value = storageGet("specz-cnn:inspector") ?? "";
  $("smooth").value = current.smooth;
  const place = Number(storageGet(`${STORE}place`) ?? 0);
  current.row = place < rowCount ? place : 0;
  recoverFilters();
  applyFilters();
  if (order.length && !order.includes(current.row)) current.row = order[0];
  if (recovered) toast(`${recovered} verdicts recovered.`);
  if (!storageWorks) toast("This browser does not keep anything: export before you close the page!", 8000);
  loadEigenspectra().then(() => show(current.row)).then(() => { document.documentElement.dataset.ready = Math.round(performance.now()); });
}

// For scripts that drive the page.
window.inspection = { page, current, entries, show, judge, setRedshift, verdictsAsCsv, importVerdicts };
start();
