// The fit of eigenspectra and a quadratic polynomial at the redshift of the slider: the other half of models/eigenspectra.py.

const eigen = { rows: null };

async function loadEigenspectra() {
  const packed = page.eigenspectra;
  if (!packed) return;
  const bytes = await inflate(packed);
  const codes = new Int16Array(bytes.buffer, 0, packed.count * packed.n);
  const rows = packed.scale.map((scale, k) => Float64Array.from(codes.subarray(k * packed.n, (k + 1) * packed.n), (code) => code * scale));
  Object.assign(eigen, packed, { rows });
}

// Flux of the best fit at every pixel, NaN outside the range that is fitted; null where there is nothing to fit.
function fitModel(spectrum, z) {
  if (!eigen.rows || z === null) return null;
  const { flux, error } = spectrum;
  const { rows, start, sample, first, last, prior } = eigen;
  const size = rows.length + 3, n = flux.length;
  const shift = Math.log10(1 + z) / LATTICE_STEP;
  const values = Array.from({ length: size }, () => new Float64Array(n));
  const inside = new Uint8Array(n);
  let sum = 0, norm = 0;
  for (let i = 0; i < n; i++) {
    const place = spectrum.start + i; // pixels lie on the lattice
    if (place < first || place > last) continue;
    inside[i] = 1;
    const x = Math.min(Math.max((place - shift - start) / sample, 0), rows[0].length - 1.001);
    const left = Math.floor(x), share = x - left;
    rows.forEach((row, k) => { values[k][i] = row[left] * (1 - share) + row[left + 1] * share; });
    const t = (2 * (place - first)) / (last - first) - 1;
    values[size - 3][i] = 1;
    values[size - 2][i] = t;
    values[size - 1][i] = t * t;
    if (error[i] > 0) { sum += Math.abs(flux[i]) / error[i]; norm += 1 / error[i]; }
  }
  if (!(sum > 0)) return null;
  const scale = sum / norm;
  const normal = Array.from({ length: size }, () => new Float64Array(size)), right = new Float64Array(size);
  for (let i = 0; i < n; i++) {
    if (!inside[i] || !(error[i] > 0)) continue;
    const weight = (scale / error[i]) ** 2, f = flux[i] / scale;
    for (let a = 0; a < size; a++) {
      const wa = weight * values[a][i];
      right[a] += wa * f;
      for (let b = 0; b <= a; b++) normal[a][b] += wa * values[b][i];
    }
  }
  for (let a = 0; a < size; a++) normal[a][a] += (prior[a] ?? 0) + 1e-6 * normal[a][a] + 1e-30;
  const coefficients = solveSymmetric(normal, right);
  const model = new Float64Array(n).fill(NaN);
  for (let i = 0; i < n; i++) {
    if (!inside[i]) continue;
    let total = 0;
    for (let a = 0; a < size; a++) total += coefficients[a] * values[a][i];
    model[i] = scale * total;
  }
  return model;
}

// Cholesky's way; of the matrix only the lower half is there, and it is overwritten.
function solveSymmetric(matrix, right) {
  const n = right.length, x = Float64Array.from(right);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let s = matrix[i][j];
      for (let k = 0; k < j; k++) s -= matrix[i][k] * matrix[j][k];
      matrix[i][j] = i === j ? Math.sqrt(Math.max(s, 1e-300)) : s / matrix[j][j];
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= matrix[i][k] * x[k];
    x[i] /= matrix[i][i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= matrix[k][i] * x[k];
    x[i] /= matrix[i][i];
  }
  return x;
}
