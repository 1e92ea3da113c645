// Data of the page, and the decoding of spectra: the other half of report/encoding.py.

const SPEED_OF_LIGHT = 299792.458;
const LATTICE_STEP = 1e-4;
const NO_DATA = 255;

const page = JSON.parse(document.getElementById("data").textContent);
const blob = document.getElementById("blob").textContent;
const rowCount = page.columns.z.length;

async function inflate(place) {
  const text = atob(blob.slice(place.at, place.at + place.len));
  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// {wavelength, flux, error} with error = 0 where there is no data, or null for a row without a spectrum.
async function decodeSpectrum(row) {
  const packed = page.spectra[row];
  if (!packed) return null;
  const bytes = await inflate(packed);
  const n = packed.n;
  const spectrum = { wavelength: new Float64Array(n), flux: new Float64Array(n), error: new Float64Array(n), sdss: Boolean(packed.sdss), start: packed.start };
  let code = 0;
  for (let i = 0; i < n; i++) {
    code = (code + bytes[i]) & 255;
    spectrum.wavelength[i] = 10 ** (LATTICE_STEP * (packed.start + i));
    if (code === NO_DATA) continue;
    const level = ((bytes[n + i] | (bytes[2 * n + i] << 8)) << 16) >> 16; // little-endian int16
    spectrum.error[i] = packed.sigma * 2 ** (code / 16);
    spectrum.flux[i] = level * packed.step * spectrum.error[i];
  }
  return spectrum;
}

// log10 of the probability of every bin, from -6 to 0, or null.
async function decodePdf(row) {
  const place = page.pdf && page.pdf.rows[row];
  if (!place) return null;
  return Float64Array.from(await inflate(place), (code) => code / 20 - 6);
}

// What was decoded last, and the neighbours to come, so that a switch need not wait.
const CACHE_SIZE = 40;
const cache = new Map();

function load(row) {
  let entry = cache.get(row);
  if (!entry) {
    entry = Promise.all([decodeSpectrum(row), decodePdf(row)]).then(([spectrum, pdf]) => ({ spectrum, pdf }));
    if (cache.size >= CACHE_SIZE) cache.delete(cache.keys().next().value);
  }
  cache.delete(row);
  cache.set(row, entry); // the most recently used ones stand last
  return entry;
}

// Gaussian smoothing weighted with the inverse variance; NaN where nothing is near.
function smoothFlux(spectrum, width) {
  const n = spectrum.flux.length;
  const out = new Float64Array(n);
  const reach = Math.ceil(3 * width);
  const kernel = Array.from({ length: reach + 1 }, (_, i) => (width ? Math.exp(-0.5 * (i / width) ** 2) : 1));
  const weight = spectrum.error.map((e) => (e > 0 ? 1 / (e * e) : 0));
  for (let i = 0; i < n; i++) {
    let sum = 0, norm = 0;
    for (let j = Math.max(0, i - reach); j <= Math.min(n - 1, i + reach); j++) {
      const w = kernel[Math.abs(i - j)] * weight[j];
      sum += w * spectrum.flux[j];
      norm += w;
    }
    out[i] = norm > 0 ? sum / norm : NaN;
  }
  return out;
}
