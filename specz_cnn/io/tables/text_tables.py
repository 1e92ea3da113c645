"""Tables as text: ECSV and CSV.

Astropy's writers and readers of these formats would not give back what they were given: blanks at the ends of texts
are lost, as is a row whose first text begins with ``#`` (astropy 8.0), and in CSV a column of empty texts comes back
as one of masked integers.  Here all text that is not a plain word stands in quotes, and what stands in quotes is kept.
"""

from __future__ import annotations

import csv
import io
import re
from itertools import chain

import numpy as np
from astropy.table import MaskedColumn, Table

from specz_cnn.io.tables.packed import read_text
from specz_cnn.io.tables.words import utf8

__all__ = ["parse", "read_csv", "read_ecsv", "write_csv", "write_ecsv"]

_ECSV = "# %ECSV"
# Cells that say that there is nothing, in lower case.
_NOTHING = ("", "null", "none", "n/a", "--")
# Texts that need no quotes.
_PLAIN = re.compile(r"[\w./+:=@%-]+", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_MINUS = str.maketrans({"\u2212": "-"})
# Types of columns that stand in ECSV as they are.
_SIMPLE = re.compile(r"bool|string|u?int(8|16|32|64)|float(16|32|64|128)")


def read_csv(path, columns=None, text=()):
    """Read CSV, or ECSV under another name; some columns hold text, whatever it looks like."""
    return parse(read_text(path), text)


def read_ecsv(path, columns=None):
    """Read ECSV."""
    text = read_text(path)
    if not text.startswith(_ECSV):
        raise ValueError(f"no ECSV: the first line does not begin with {_ECSV!r}")
    return parse(text)


def parse(text, names_of_text=()):
    """A table from the text of an ECSV or CSV file."""
    return _parse_ecsv(text) if text.startswith(_ECSV) else _parse_csv(text, names_of_text)


def _is_comment(line):
    return line.lstrip().startswith("#")


def _rows(text, delimiter):
    """(Number of the line, cells) of each row; comments and blank rows are passed over, but not inside quotes."""
    n_quotes, line = 0, ""

    def lines():
        nonlocal n_quotes, line
        for line in io.StringIO(text, newline=""):
            if n_quotes % 2 == 0 and _is_comment(line):
                line = "\n"  # an empty row, so that lines are counted right
            n_quotes += line.count('"')
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if line.strip(" ,;\t\r\n"):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f", line {reader.line_num}: {error}") from None


def _parse_csv(text, names_of_text):
    first = next((line for line in io.StringIO(text) if line.strip() and not _is_comment(line)), "").strip()
    delimiter = max(",;\t", key=first.count)
    rows = [(line, cells) for line, cells in _rows(text, delimiter)]
    header = _commented_header(text, rows[0][1], delimiter) if rows else None
    quoted = _quoted_names(first, delimiter) if header is None else set()
    if header is None and rows:
        header = [name.strip() for name in rows.pop(0)[1]]
    while header and not header[-1] and not any("".join(cells[len(header) - 1 :]) for _, cells in rows):
        header.pop()  # a delimiter at the end of every line
    if not header:
        raise ValueError("an empty table")
    names = [name or f"col{number}" for number, name in enumerate(header, 1)]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two columns are named {double!r}")
    for line, cells in rows:
        if any(map(str.strip, cells[len(names) :])):
            raise ValueError(f", line {line}: {len(cells)} cells, where the header has {len(names)}")
        cells += [""] * (len(names) - len(cells))  # spreadsheets leave out blank cells at the end
    table = Table()
    for number, name in enumerate(names):
        values = [cells[number] for _, cells in rows]
        is_text = name in quoted or name in names_of_text
        table[name] = np.array(values, dtype=str) if is_text else _guess(values, ours=bool(quoted))
    return table


def _commented_header(text, first_row, delimiter):
    """Names of the columns where they stand in a comment above rows of numbers, else None."""
    comment = ""
    for line in io.StringIO(text):
        if line.strip() and not _is_comment(line):
            break
        comment = line.strip().lstrip("#") or comment
    names = [name.strip() for name in comment.split(delimiter)]
    numbers = [_is_number(cell) for cell in first_row]
    if len(names) == len(first_row) > 1 and any(numbers) and not any(map(_is_number, names)):
        return names
    return None


def _is_number(cell):
    try:
        float(cell.strip().translate(_MINUS))
    except ValueError:
        return False
    return "_" not in cell


def _quoted_names(line, delimiter):
    """Names that stand in quotes without need, which `write_csv` puts around those of columns of text.

    If all do, they say nothing: some programs put quotes around everything.
    """
    cells = re.findall(rf'(?:^|{delimiter})("(?:[^"]|"")*"|[^{delimiter}]*)', line)
    names = {cell[1:-1] for cell in cells if cell.startswith('"') and _PLAIN.fullmatch(cell[1:-1])}
    return names if len(names) < len(cells) else set()


def _guess(values, *, ours):
    """Cells as booleans, integers, floats or text, the first that fits."""
    words = [value.strip().translate(_MINUS) for value in values]
    missing = np.array([word.lower() in _NOTHING for word in words], dtype=bool)
    known = [word for word, nothing in zip(words, missing, strict=True) if not nothing]
    if not known:
        # Nothing tells what they would be; but where texts are known by their quotes, these are none.
        return np.full(len(words), np.nan) if ours or not words else np.full(len(words), "")
    if {word.lower() for word in known} <= {"true", "false"}:
        truth = np.array([word.lower() == "true" for word in words], dtype=bool)
        return MaskedColumn(truth, mask=missing) if missing.any() else truth
    if all(map(_INTEGER.fullmatch, known)):
        numbers = [0 if nothing else int(word) for word, nothing in zip(words, missing, strict=True)]
        low, high = min(numbers), max(numbers)
        if -(2**63) <= low and high < (2**63 if low < 0 else 2**64):
            integers = np.array(numbers, dtype=np.int64 if high < 2**63 else np.uint64)
            return MaskedColumn(integers, mask=missing) if missing.any() else integers
    elif all(map(_is_number, known)):
        pairs = zip(words, missing, strict=True)
        return np.array([np.nan if nothing else float(word) for word, nothing in pairs])
    pairs = zip(values, missing, strict=True)
    return np.array(["" if nothing else value.strip() for value, nothing in pairs], dtype=str)


def _parse_ecsv(text):
    """ECSV with columns of numbers and text; what else there may be, times or positions, astropy reads."""
    from astropy.table import meta

    lines = []
    for line in io.StringIO(text):
        if not line.startswith("#"):
            break
        lines.append(line[2:].rstrip("\n"))
    header = meta.get_header_from_yaml(lines[1:])
    entries = header["datatype"]
    extra = header.get("meta") or {}
    simple = all(_SIMPLE.fullmatch(entry["datatype"]) and "subtype" not in entry for entry in entries)
    if not simple or "__serialized_columns__" in extra:
        return Table.read(text, format="ascii.ecsv")
    rows = list(_rows(text, header.get("delimiter", " ")))
    names = [entry["name"] for entry in entries]
    if not rows or rows[0][1] != names:
        raise ValueError("the names of the columns are not those of the header")
    for line, cells in rows[1:]:
        if len(cells) != len(names):
            raise ValueError(f", line {line}: {len(cells)} cells, where the header has {len(names)}")
    table = Table(meta=extra)
    for number, entry in enumerate(entries):
        table[entry["name"]] = _typed([(line, cells[number]) for line, cells in rows[1:]], entry)
        for key in ("unit", "format", "description", "meta"):
            if entry.get(key):
                setattr(table[entry["name"]].info, key, entry[key])
    return table


def _typed(cells, entry):
    """Values of a column of ECSV; the message of an error tells the line."""
    if entry["datatype"] == "string":
        return np.array([cell for _, cell in cells], dtype=str)
    kind = np.dtype(entry["datatype"])
    convert = {"f": kind.type, "b": {"True": True, "False": False, "1": True, "0": False}.__getitem__}.get(
        kind.kind, int
    )
    empty, values = np.nan if kind.kind == "f" else 0, []
    for line, cell in cells:
        try:
            values.append(convert(cell) if cell else empty)
        except (ValueError, KeyError):
            raise ValueError(f", line {line}: {cell!r} in column {entry['name']} is no {kind}") from None
    missing = [cell == "" for _, cell in cells]
    values = np.array(values, dtype=kind)
    return MaskedColumn(values, mask=missing) if kind.kind != "f" and any(missing) else values


def _cells(column, missing):
    """The entries of a column as texts, those of text in quotes where they need them; and whether it is text."""
    if column.ndim > 1:
        raise ValueError(f"column {column.info.name} holds arrays, which this format cannot")
    masks = np.ma.getmaskarray(column).tolist()
    values = np.asarray(column)
    # The digits that a float of single precision needs are fewer than those of its double.
    texts = map(str, values if values.dtype.kind == "f" and values.dtype != float else values.tolist())
    return [missing if masked else text for text, masked in zip(texts, masks, strict=True)]


def _in_quotes(text):
    return '"' + utf8(text).replace('"', '""') + '"'


def _word(text):
    return text if _PLAIN.fullmatch(text) else _in_quotes(text)


def _write_rows(stream, delimiter, header, columns):
    for cells in chain([header], zip(*columns, strict=True)):
        # A row that holds nothing is a row all the same.
        line = delimiter.join(cells if any(cells) else ['""', *cells[1:]])
        stream.write((line + "\n").encode())


def write_csv(table, stream):
    """Write CSV; text and the names of its columns stand in quotes."""
    columns, header = [], []
    for column in table.itercols():
        name, cells = column.info.name, _cells(column, "")
        is_text = column.dtype.kind == "U"
        columns.append([_in_quotes(cell) for cell in cells] if is_text else cells)
        header.append(_in_quotes(name) if is_text else _word(name))
    _write_rows(stream, ",", header, columns)


def write_ecsv(table, stream):
    """Write ECSV."""
    from astropy.table import meta

    for line in ["%ECSV 1.0", "---", *meta.get_yaml_from_table(table)]:
        stream.write(f"# {line}\n".encode("utf-8", "backslashreplace"))
    columns = []
    for column in table.itercols():
        cells = _cells(column, '""')
        columns.append([_word(cell) for cell in cells] if column.dtype.kind == "U" else cells)
    _write_rows(stream, " ", [_word(name) for name in table.colnames], columns)
