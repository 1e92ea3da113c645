// Drawing: the spectrum, the window that magnifies it around the mouse, and the strip of p(z) above the slider.

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const MARGIN = { left: 54, right: 12, top: 40, bottom: 38 };
const ZOOM_MARGIN = { left: 44, right: 8, top: 8, bottom: 22 };
const ZOOM_HALF_WIDTH = 0.03; // in ln(wavelength)
const colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["panel", "text", "dim", "edge", "raw", "flux", "error", "masked", "best", "second", "pipeline", "check", "absorption", "sky", "telluric"])
    colours[name] = style.getPropertyValue(`--${name}`).trim();
}

// Context of a canvas with as many pixels as the screen has, in units of CSS pixels.
function prepareCanvas(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = FONT;
  return { g, width, height };
}

// First pixel at or beyond a wavelength.
function pixelAt(wavelength, value) {
  let low = 0, high = wavelength.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (wavelength[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

// Limits that hold the lines but not the noise of pixels far worse than usual, nor every cosmic ray.
function fluxLimits(spectrum, smoothed, x0, x1, withZero = true) {
  const from = pixelAt(spectrum.wavelength, x0), to = pixelAt(spectrum.wavelength, x1);
  const errors = spectrum.error.slice(from, to).filter((e) => e > 0).sort();
  if (!errors.length) return [-1, 1];
  const limit = 4 * errors[errors.length >> 1];
  const values = smoothed.slice(from, to).filter((f, i) => Number.isFinite(f) && spectrum.error[from + i] < limit).sort();
  if (!values.length) return [-1, 1];
  const pick = (share) => values[Math.round(share * (values.length - 1))];
  const zero = withZero ? 0 : values[0];
  const low = Math.min(zero, pick(0.003)), high = Math.max(zero, pick(0.998));
  const span = high - low || 1;
  return [low - 0.05 * span, high + 0.22 * span]; // room for the names of the lines
}

function niceTicks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

// One picture of the spectrum: view = {x0, x1, y0, y1}, lines at z; detail = false leaves out titles and the rest frame.
function drawSpectrum(canvas, spectrum, smoothed, view, z, { margin, detail, smooth, band, weak, atmosphere, hidden, model }) {
  const { g, width, height } = prepareCanvas(canvas);
  const w = width - margin.left - margin.right, h = height - margin.top - margin.bottom;
  if (w < 20 || h < 20) return null;
  const x = (value) => margin.left + ((value - view.x0) / (view.x1 - view.x0)) * w;
  const y = (value) => margin.top + ((view.y1 - value) / (view.y1 - view.y0)) * h;
  const { wavelength, flux, error } = spectrum;
  const from = Math.max(0, pixelAt(wavelength, view.x0) - 1), to = Math.min(wavelength.length, pixelAt(wavelength, view.x1) + 1);

  g.save();
  g.beginPath();
  g.rect(margin.left, margin.top, w, h);
  g.clip();
  if (atmosphere) shadeAtmosphere(g, view, x, margin.top, h, detail);
  shadeMasked(g, spectrum, from, to, x, margin.top, h);
  if (band) fillError(g, spectrum, from, to, x, y);
  g.strokeStyle = colours.edge;
  g.lineWidth = 1;
  strokePath(g, [[margin.left, y(0)], [margin.left + w, y(0)]]);
  if (smooth > 0) strokeCurve(g, wavelength, flux, error, from, to, x, y, colours.raw, 0.8);
  strokeCurve(g, wavelength, smoothed, error, from, to, x, y, colours.flux, 1.4);
  if (model) strokeCurve(g, wavelength, model, model.map(() => 1), from, to, x, y, colours.best, 1.2);
  if (z !== null) drawLines(g, z, view, x, margin, w, h, weak, hidden);
  g.restore();

  drawAxes(g, view, x, y, margin, w, h, detail, z, spectrum.sdss);
  return { x, y, w, h, toWavelength: (px) => view.x0 + ((px - margin.left) / w) * (view.x1 - view.x0) };
}

function shadeMasked(g, { wavelength, error }, from, to, x, top, h) {
  g.fillStyle = colours.masked;
  for (let i = from; i < to; i++) {
    if (error[i] > 0) continue;
    const first = i;
    while (i + 1 < to && !(error[i + 1] > 0)) i++;
    const left = x(wavelength[first]), right = x(wavelength[i]);
    g.fillRect(left - 1, top, Math.max(2, right - left + 2), h); // wide enough to be seen
  }
}

// Where the sky is bright, or the atmosphere absorbs (⊕).
function shadeAtmosphere(g, view, x, top, h, detail) {
  g.textAlign = "center";
  for (const [from, to, kind] of page.atmosphere) {
    if (to < view.x0 || from > view.x1) continue;
    const left = x(from), width = Math.max(1.5, x(to) - left);
    g.fillStyle = colours[kind];
    g.fillRect(left, top, width, h);
    if (!detail || width < 12 || h < 120) continue;
    const text = kind === "telluric" ? "⊕" : width > 22 ? "sky" : "";
    g.fillStyle = colours.dim;
    g.fillText(text, left + width / 2, top + h - 4);
  }
}

function fillError(g, { wavelength, error }, from, to, x, y) {
  g.fillStyle = colours.error;
  g.globalAlpha = 0.55;
  g.beginPath();
  g.moveTo(x(wavelength[from]), y(0));
  for (let i = from; i < to; i++) g.lineTo(x(wavelength[i]), y(error[i]));
  g.lineTo(x(wavelength[to - 1]), y(0));
  g.fill();
  g.globalAlpha = 1;
}

function strokePath(g, points) {
  g.beginPath();
  points.forEach(([px, py], i) => (i ? g.lineTo(px, py) : g.moveTo(px, py)));
  g.stroke();
}

function strokeCurve(g, wavelength, values, error, from, to, x, y, colour, lineWidth) {
  g.strokeStyle = colour;
  g.lineWidth = lineWidth;
  g.beginPath();
  let drawing = false;
  for (let i = from; i < to; i++) {
    const good = error[i] > 0 && Number.isFinite(values[i]);
    if (good) {
      if (drawing) g.lineTo(x(wavelength[i]), y(values[i])); else g.moveTo(x(wavelength[i]), y(values[i]));
    }
    drawing = good;
  }
  g.stroke();
}

const LINE_STYLE = { strong: [], weak: [2, 3], absorption: [6, 4], edge: [1, 3] };
const NAME_LEVELS = 4;

// All lines first and the names over them; the names of strong lines choose their places before the others.
function drawLines(g, z, view, x, margin, w, h, weak, hidden) {
  const lines = page.lines
    .map(([name, rest, kind]) => ({ name, kind, wavelength: rest * (1 + z) }))
    .filter(({ kind, wavelength }) => wavelength >= view.x0 && wavelength <= view.x1 && (kind === "strong" || weak))
    .filter(({ name }) => !hidden.has(name));
  g.lineWidth = 1.1;
  for (const { kind, wavelength } of lines) {
    g.strokeStyle = lineColour(kind);
    g.globalAlpha = kind === "strong" ? 0.9 : 0.65;
    g.setLineDash(LINE_STYLE[kind]);
    strokePath(g, [[x(wavelength), margin.top], [x(wavelength), margin.top + h]]);
  }
  g.setLineDash([]);
  g.globalAlpha = 1;
  const taken = Array.from({ length: NAME_LEVELS }, () => []);
  for (const strong of [true, false])
    for (const line of lines) if ((line.kind === "strong") === strong) nameLine(g, line, x(line.wavelength), taken, margin, w);
}

function lineColour(kind) {
  return kind === "absorption" ? colours.absorption : colours.best;
}

// A name beside its line, on the first level with room for it, with a halo that keeps it readable on the spectrum.
function nameLine(g, { name, kind }, px, taken, margin, w) {
  const size = g.measureText(name).width;
  const right = px + size + 4 < margin.left + w; // at the right edge it stands on the left of its line
  const left = right ? px + 3 : px - 3 - size;
  const level = taken.findIndex((spans) => spans.every(([from, to]) => left > to + 4 || left + size < from - 4));
  if (level < 0) return;
  taken[level].push([left, left + size]);
  g.textAlign = "left";
  g.lineWidth = 3;
  g.lineJoin = "round";
  g.strokeStyle = colours.panel;
  g.fillStyle = lineColour(kind);
  const baseline = margin.top + 13 + 14 * level;
  g.strokeText(name, left, baseline);
  g.fillText(name, left, baseline);
}

function drawAxes(g, view, x, y, margin, w, h, detail, z, sdss) {
  const bottom = margin.top + h;
  g.strokeStyle = colours.dim;
  g.fillStyle = colours.text;
  g.lineWidth = 1;
  g.strokeRect(margin.left + 0.5, margin.top + 0.5, w - 1, h - 1);
  g.textAlign = "center";
  for (const tick of niceTicks(view.x0, view.x1, w / 90)) {
    strokePath(g, [[x(tick), bottom], [x(tick), bottom - 5]]);
    g.fillText(String(tick), x(tick), bottom + 15);
  }
  g.textAlign = "right";
  for (const tick of niceTicks(view.y0, view.y1, h / 45)) {
    strokePath(g, [[margin.left, y(tick)], [margin.left + 5, y(tick)]]);
    g.fillText(String(tick), margin.left - 5, y(tick) + 4);
  }
  if (!detail) return;
  g.textAlign = "center";
  g.fillStyle = colours.dim;
  g.fillText("observed wavelength (Å, vacuum)", margin.left + w / 2, bottom + 32);
  g.save();
  g.translate(12, margin.top + h / 2);
  g.rotate(-Math.PI / 2);
  const unit = "10⁻¹⁷ erg s⁻¹ cm⁻² Å⁻¹";
  g.fillText(!sdss ? "relative flux per Å" : g.measureText(unit).width < h + 30 ? unit : "10⁻¹⁷ cgs / Å", 0, 0);
  g.restore();
  if (z === null) return;
  g.fillText("rest-frame wavelength (Å)", margin.left + w / 2, 12);
  g.fillStyle = colours.text;
  for (const tick of niceTicks(view.x0 / (1 + z), view.x1 / (1 + z), w / 90)) {
    const px = x(tick * (1 + z));
    strokePath(g, [[px, margin.top], [px, margin.top + 5]]);
    g.fillText(String(tick), px, margin.top - 8);
  }
}

// p(z) above the slider on a logarithmic scale, and a tick for every candidate; limits in ln(1 + z).
function drawPdf(canvas, pdf, candidates, z, low, high) {
  const { g, width, height } = prepareCanvas(canvas);
  const pad = 8; // half of the slider's thumb
  const x = (value) => pad + ((value - low) / (high - low)) * (width - 2 * pad);
  const base = height - 12;
  g.font = FONT.replace("12px", "10px");
  g.strokeStyle = colours.edge;
  strokePath(g, [[pad, base + 0.5], [width - pad, base + 0.5]]);
  if (pdf) {
    g.fillStyle = colours.flux;
    g.globalAlpha = 0.45;
    const bar = Math.max(1, (page.pdf.step / (high - low)) * (width - 2 * pad));
    pdf.forEach((value, k) => {
      const tall = ((value + 6) / 6) * base;
      if (tall > 0) g.fillRect(x(page.pdf.first + k * page.pdf.step) - bar / 2, base - tall, bar, tall);
    });
    g.globalAlpha = 1;
  }
  g.fillStyle = colours.dim;
  g.textAlign = "center";
  for (const tick of [0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7]) g.fillText(tick, x(Math.log1p(tick)), height - 1);
  for (const { value, colour } of [...candidates].reverse()) { // the best one above the others
    g.fillStyle = colours[colour];
    const px = x(Math.log1p(value));
    g.beginPath();
    g.moveTo(px - 5, 0); g.lineTo(px + 5, 0); g.lineTo(px, 8);
    g.fill();
  }
  if (z !== null) {
    g.strokeStyle = colours.best;
    g.lineWidth = 1.5;
    strokePath(g, [[x(Math.log1p(z)), 0], [x(Math.log1p(z)), base]]);
  }
}
