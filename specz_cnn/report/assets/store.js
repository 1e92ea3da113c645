// Verdicts: kept in the browser after every change, recovered when the page opens again, exported and imported as CSV.
//
// An entry is {verdict, z_vi, class_person, z_conf, comment, inspector, date, issues}; entries without a verdict are drafts.

const STORE = `specz-cnn:${page.id}:`;
const entries = new Map();
const history = [];
let storageWorks = true;

function storageGet(key) {
  try { return localStorage.getItem(key); } catch { storageWorks = false; return null; }
}

function storageSet(key, value) {
  try {
    if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, value);
  } catch { storageWorks = false; }
  return storageWorks;
}

// One key for each row: a change writes a few bytes, and a crash can spoil one row at most.
function recoverEntries() {
  storageSet(`${STORE}probe`, "1");
  storageSet(`${STORE}probe`, null);
  if (!storageWorks) return 0;
  for (let i = 0; i < localStorage.length; i++) {
    const key = localStorage.key(i);
    if (key.startsWith(STORE)) readEntry(key, localStorage.getItem(key));
  }
  return countVerdicts();
}

function readEntry(key, text) {
  const row = Number(key.slice(STORE.length));
  if (!Number.isInteger(row) || row < 0 || row >= rowCount) return;
  try {
    if (text) entries.set(row, JSON.parse(text)); else entries.delete(row);
  } catch { /* a spoilt row is a row to inspect again */ }
}

function writeEntry(row, entry) {
  if (entry) entries.set(row, entry); else entries.delete(row);
  storageSet(STORE + row, entry ? JSON.stringify(entry) : null);
}

function changeEntry(row, changes) {
  const before = entries.get(row);
  // A comment is undone as a whole, not letter by letter.
  const what = Object.keys(changes).join();
  const last = history.at(-1);
  if (!(what === "comment" && last?.[0] === row && last[2] === what)) history.push([row, before, what]);
  if (history.length > 500) history.shift();
  const entry = { ...before, ...changes };
  for (const key of Object.keys(entry)) if (entry[key] === undefined || entry[key] === "") delete entry[key];
  writeEntry(row, Object.keys(entry).length ? entry : null);
}

function undoChange() {
  const last = history.pop();
  if (!last) return null;
  writeEntry(last[0], last[1]);
  return last[0];
}

function countVerdicts() {
  let count = 0;
  for (const entry of entries.values()) if (entry.verdict) count++;
  return count;
}

function csvField(value) {
  const text = value === null || value === undefined ? "" : String(value).replace(/[\r\n]+/g, " ");
  return /[",]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

// Without a byte-order mark, which other readers take for a part of the first column's name.
function verdictsAsCsv() {
  const lines = [page.verdictColumns.join(",")];
  for (let row = 0; row < rowCount; row++) {
    const entry = entries.get(row);
    if (!entry || !entry.verdict) continue;
    const known = { ...entry };
    for (const name of ["file", "plate", "mjd", "fiber", "z"]) known[name] = page.columns[name][row];
    lines.push(page.verdictColumns.map((name) => csvField(known[name])).join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

function parseCsv(text) {
  const rows = [];
  let row = [], field = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') { field += '"'; i++; } else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ",") { row.push(field); field = ""; }
    else if (c === "\n") { row.push(field.replace(/\r$/, "")); rows.push(row); row = []; field = ""; }
    else field += c;
  }
  if (field || row.length) rows.push([...row, field]);
  return rows;
}

// Verdicts of a file for rows of this page; those that are newer here stay. Returns how many were taken.
function importVerdicts(text) {
  const [head, ...lines] = parseCsv(text.replace(/^\uFEFF/, ""));
  if (!head || page.verdictColumns.some((name) => name !== "issues" && !head.includes(name))) throw new Error("this is not a file of verdicts");
  const names = new Map();
  const keyOf = (get) => (Number(get("plate")) >= 0 ? [get("plate"), get("mjd"), get("fiber")].map(Number).join("-") : get("file"));
  for (let row = 0; row < rowCount; row++) names.set(keyOf((name) => page.columns[name][row]), row);
  let taken = 0;
  for (const line of lines) {
    const get = (name) => line[head.indexOf(name)] ?? "";
    const row = names.get(keyOf(get));
    if (row === undefined || !["accept", "correct", "reject"].includes(get("verdict"))) continue;
    if ((entries.get(row)?.date ?? "") > get("date")) continue;
    const number = (name) => (get(name) === "" ? undefined : Number(get(name)));
    changeEntry(row, {
      verdict: get("verdict"), z_vi: number("z_vi"), class_person: number("class_person"), z_conf: number("z_conf"),
      comment: get("comment"), inspector: get("inspector"), date: get("date"), issues: get("issues"),
    });
    taken++;
  }
  return taken;
}
