"""From a quasar catalogue to a network, in stages that resume: DR16Q in one command.

The stages, each of which leaves something that a later run finds finished or continues:

1. *sample*: the rows of the catalogue that are wanted, divided by object into ``train``, ``calibration`` and ``test``
   (``sample.fits``);
2. *spectra*: fetched from the archive, or taken from a mirror, and put on the network's grid as they arrive
   (``shards/PART``);
3. *training* (``checkpoint.pt``, ``log.jsonl``, ``trained/NAME.safetensors``);
4. *calibration* on objects held out (``NAME.safetensors``);
5. *evaluation* on the test set, which took part in nothing (``evaluation/``), and a model card (``NAME.rst``).
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table

from specz_cnn.config import conf
from specz_cnn.evaluate import evaluate_results, match_results, read_labels
from specz_cnn.io.tables import write_table
from specz_cnn.io.whole import write_whole
from specz_cnn.models.registry import model_info
from specz_cnn.redshift.fitter import Fitter
from specz_cnn.redshift.prepare import Prepared
from specz_cnn.sdss import SDSSError, SpecID, download_spectra
from specz_cnn.training.calibrated import CalibrationSet, calibrate_weights
from specz_cnn.training.card import write_card
from specz_cnn.training.finish import save_weights
from specz_cnn.training.objects import places, split_objects
from specz_cnn.training.real_shards import build_shards, catalogue_rows, files_below
from specz_cnn.training.recipe import build_simulator, build_trainer
from specz_cnn.training.shards import LABEL_DTYPE, read_shards
from specz_cnn.training.workers import Workers

__all__ = ["PARTS", "SurveyTraining"]

#: Parts of a sample and their shares of the objects.
PARTS = {"train": 0.8, "calibration": 0.1, "test": 0.1}

_SHARD = 4096  # spectra a shard: what a killed run reads again
_FILE_MB = 0.21  # mean size of a spec-lite file
_FILES_PER_SECOND = 25.0  # eight connections to the archive; what a plan assumes
_SPECTRA_PER_SECOND = 500.0  # read and put on a grid by one core
_MOST_CALIBRATION = 20_000
_ENOUGH = 500  # quasars that a calibration can stand on
_SIMULATED_CALIBRATION = 4000
_SEED = 77
_FIT = 256


@dataclass
class SurveyTraining:
    """A training on the spectra of a quasar catalogue.

    Parameters
    ----------
    recipe : Recipe
    catalogue : path-like
        DR16Q, or a table with its columns ``PLATE, MJD, FIBERID, Z`` and, to know objects again, ``RA, DEC``.
    directory : path-like
        Run directory.
    z_range : (float, float), optional
        Redshifts wanted.
    sample : int, optional
        So many spectra, chosen by a hash of the object: a smaller sample is part of a larger one.
    sas : path-like, optional
        A local mirror of the archive, or any directory with the files; nothing is fetched then.
    data : path-like, optional
        Templates for the simulated share of each batch; the compact bank if not given.
    real_fraction : float
        Share of real spectra in each batch.
    discard : bool
        Remove fetched files once they are in a shard.
    device : str
    workers : Workers, optional
    max_seconds : float
        Of training; then the run ends, to be continued.
    say : callable
        Takes one line of text for each stage.
    progress : callable
        ``progress(title, total)`` gives a function that is called with the number done.
    """

    recipe: object
    catalogue: object
    directory: object
    z_range: tuple | None = None
    sample: int | None = None
    sas: object = None
    data: object = None
    real_fraction: float = 0.5
    discard: bool = False
    device: str = "cpu"
    workers: Workers | None = None
    max_seconds: float = math.inf
    say: object = print
    progress: object = None

    def __post_init__(self):
        self.directory = Path(self.directory)
        self.workers = self.workers or Workers(device=self.device)
        self.name = self.recipe.model["name"]
        self.weights = self.directory / f"{self.name}.safetensors"
        self._failed = Counter()

    # ---- stages

    def run(self):
        """Work through the stages.

        Returns
        -------
        `~pathlib.Path` or None
            The weights, or None if time was up before the training's end.
        """
        first = self.workers.first
        if first:
            self.directory.mkdir(parents=True, exist_ok=True)
            rows, part = self._sample()
            for name in PARTS:
                self._spectra(rows[part == name], name)
        self.workers.wait()
        if not self._train():
            return None
        if first:
            self._calibrate()
            self._evaluate()
        self.workers.wait()
        return self.weights

    def rows(self):
        """The rows of the catalogue that are wanted, and the part that each belongs to.

        Returns
        -------
        rows : `~numpy.ndarray`, structured
            See `catalogue_rows`.
        part : `~numpy.ndarray` of str
        """
        rows = catalogue_rows(self.catalogue)
        low, high = self.z_range or (-math.inf, math.inf)
        with np.errstate(invalid="ignore"):
            rows = rows[(rows["z"] >= low) & (rows["z"] <= high)]
        _, once = np.unique(rows[["plate", "mjd", "fiber"]], return_index=True)
        rows = rows[np.sort(once)]
        if self.sample is not None and self.sample < len(rows):
            # Ties are spectra of one object.
            order = np.argsort(places(rows["object"], "specz-cnn sample 1"), kind="stable")
            rows = rows[np.sort(order[: self.sample])]
        if not len(rows):
            raise ValueError(f"no row of {self.catalogue} is wanted")
        return rows, split_objects(rows["object"], PARTS)

    def _sample(self):
        path, wanted = self.directory / "sample.fits", self._settings()
        settings = self.directory / "settings.json"
        if settings.exists():
            found = json.loads(settings.read_text())
            if found != wanted:
                changed = sorted(key for key in wanted if found.get(key) != wanted[key])
                raise ValueError(
                    f"{self.directory} belongs to a run with other {', '.join(changed)}; choose another directory"
                )
        rows, part = self.rows()
        table = Table(
            {name: rows[name] for name in ("plate", "mjd", "fiber", "z", "object")} | {"part": part}
        )
        if not path.exists():
            write_table(table, path)
        with write_whole(settings) as unfinished:
            unfinished.write_text(json.dumps(wanted, indent=1))
        counts = ", ".join(f"{(part == name).sum()} {name}" for name in PARTS)
        self.say(f"sample: {len(rows)} spectra of {len(np.unique(rows['object']))} objects: {counts}")
        return rows, part

    def _settings(self):
        """What must not change while a run goes on."""
        return {
            "catalogue": Path(self.catalogue).name,
            "z_range": list(self.z_range) if self.z_range else None,
            "sample": self.sample,
            "grid": self.recipe.grid.to_dict(),
            "name": self.name,
        }

    def _spectra(self, rows, name):
        """The spectra of one part on the network's grid."""
        show = self.progress(f"spectra, {name}", len(rows)) if self.progress else None
        started = time.perf_counter()
        counts = build_shards(
            self._locate if self.sas is not None else self._fetch,
            rows,
            self.directory / "shards" / name,
            self.recipe.grid,
            shard_size=_SHARD,
            progress=show,
            finished=self._remove if self.discard and self.sas is None else None,
        )
        n = len(shard_labels(self.directory / "shards" / name))
        seconds = time.perf_counter() - started
        left_out = {key: value for key, value in counts.items() if key != "used"} | dict(self._failed)
        self._failed.clear()
        words = "".join(f", {value} {key}" for key, value in left_out.items())
        rate = f"; {sum(counts.values()) / seconds:.0f} a second" if counts else ""
        self.say(f"spectra, {name}: {n} of {len(rows)} in shards{words}{rate}")

    def _locate(self, rows):
        """Paths in a mirror laid out as the archive is; else anywhere below the directory."""
        found, root = [], Path(self.sas)
        for row in rows:
            candidates = (root / path for path in _spec_id(row).lite_paths())
            found.append(next((path for path in candidates if path.is_file()), None))
        if any(path is None for path in found):
            if not hasattr(self, "_anywhere"):
                self._anywhere = files_below(root)
            found = [a or b for a, b in zip(found, self._anywhere(rows), strict=True)]
        return found

    def _fetch(self, rows):
        """Paths of spectra fetched from the archive."""
        table = download_spectra([_spec_id(row) for row in rows], self.directory / "spectra", progress=False)
        status = table["status"].tolist()
        failed = [
            error for error, word in zip(table["error"].tolist(), status, strict=True) if word == "failed"
        ]
        # A file here and there may be damaged for good; a server that is down must not empty the sample.
        if len(failed) > max(3, len(rows) // 10):
            raise SDSSError(
                f"{len(failed)} of {len(rows)} spectra could not be fetched: {failed[0]}; the same command continues"
            )
        if failed:
            self._failed["not fetched"] += len(failed)
        good = ("ok", "present")
        return [
            Path(path) if word in good else None
            for path, word in zip(table["path"].tolist(), status, strict=True)
        ]

    @staticmethod
    def _remove(paths):
        for path in paths:
            Path(path).unlink(missing_ok=True)

    def _train(self):
        """Whether the network is trained to its end."""
        trained = self.directory / "trained" / f"{self.name}.safetensors"
        if self.workers.agree(trained.exists()):
            return True
        recipe = self._recipe()
        trainer = build_trainer(recipe, self.data, self.directory, device=self.device, workers=self.workers)
        trainer.resume()
        show = self.progress("training", trainer.steps) if self.progress and self.workers.first else None
        report = (lambda step, steps, loss: show(step, f"loss {loss:.3f}")) if show else None
        started, before = time.perf_counter(), trainer.step
        finished = trainer.run(progress=report, max_seconds=self.max_seconds)
        rate = (trainer.step - before) * recipe.training["batch_size"] / (time.perf_counter() - started)
        if self.workers.first:
            state = "" if finished else "; the same command continues"
            self.say(f"training: step {trainer.step} of {trainer.steps}, {rate:.0f} spectra a second{state}")
            if finished:
                trained.parent.mkdir(exist_ok=True)
                save_weights(trainer, recipe, trained.parent)
        self.workers.wait()
        return finished

    def _recipe(self):
        """The recipe with the real spectra mixed in."""
        recipe, shards = self.recipe, self.directory / "shards"
        per_batch = round(self.real_fraction * recipe.training["batch_size"])
        simulation = recipe.simulation
        defaults = {
            "max_shift": 100,
            "max_dimming": 2.0,
            "z_min": simulation.z_min,
            "z_max": simulation.z_max,
        }
        real = {**defaults, **recipe.real, "shards": str(shards / "train"), "per_batch": per_batch}
        # Calibration spectra watch the training; nothing is chosen by them.
        return replace(
            recipe, real=real, validation={**recipe.validation, "shards": str(shards / "calibration")}
        )

    def _calibrate(self):
        if self.weights.exists():
            return
        recipe = self.recipe
        held_out = read_shards(self.directory / "shards" / "calibration", limit=_MOST_CALIBRATION)
        sets, names = [CalibrationSet(*held_out)], ["held-out spectra of the catalogue"]
        if self.real_fraction < 1 or held_out[2]["is_quasar"].sum() < _ENOUGH:
            # The catalogue holds quasars only; what is no quasar is simulated.
            simulator = build_simulator(self.data, grid=recipe.grid, config=recipe.simulation)
            sets.append(_simulated(simulator, _SIMULATED_CALIBRATION))
            names.append(f"{_SIMULATED_CALIBRATION} simulated spectra")
        trained = self.directory / "trained" / f"{self.name}.safetensors"
        check = self._check(trained)
        with write_whole(self.weights) as part:
            calibrate_weights(trained, sets, part, check=check, device=self.workers.device, data=names)
        self.say(f"calibration: {len(held_out[2])} held-out spectra")

    def _check(self, weights):
        """The default cross-check, where it reads the same grid."""
        check = conf.default_cross_check
        if not check or check == self.name:
            return None
        return check if model_info(check).grid == model_info(weights).grid else None

    def _evaluate(self):
        card = self.directory / f"{self.name}.rst"
        if card.exists():
            return
        rows, _ = self.rows()
        result = self._measure_test_set()
        objects = {
            tuple(row)[:3]: name
            for row, name in zip(rows[["plate", "mjd", "fiber"]], rows["object"], strict=True)
        }
        labels = Table(
            {
                "plate": result["plate"],
                "mjd": result["mjd"],
                "fiber": result["fiber"],
                "z": result["z_label"],
                "cls": np.where(result["is_quasar"], "QSO", "STAR"),
                "group": [
                    objects[tuple(row)]
                    for row in zip(*(result[n] for n in ("plate", "mjd", "fiber")), strict=True)
                ],
                "trust": np.full(len(result), 2),
            }
        )
        result.remove_columns(["z_label", "is_quasar"])
        folder = self.directory / "evaluation"
        folder.mkdir(exist_ok=True)
        labels_path, results_path = folder / "labels.fits", folder / "z.fits"
        for path, table in ((labels_path, labels), (results_path, result)):
            write_table(table, path)
        judged = evaluate_results(match_results(result, read_labels(labels_path)))
        judged.write(folder, figures=_can_draw())
        text = judged.report()
        samples = {
            f"Spectra, {name}": f"{len(shard_labels(self.directory / 'shards' / name))}" for name in PARTS
        }
        samples["Catalogue"] = Path(self.catalogue).name
        write_card(self.weights, card, samples=samples, report=text)
        self.say(f"evaluation: {len(result)} spectra of the test set, see {folder} and {card}")

    def _measure_test_set(self):
        """Results of the test set, measured on its shards, with the labels beside them."""
        flux, ivar, labels = read_shards(self.directory / "shards" / "test")
        if not len(labels):
            raise ValueError("the test set is empty; take a larger sample")
        check = self._check(self.weights)
        fitter = Fitter(self.weights, check, device=self.workers.device)
        if set(fitter.grids) != {self.recipe.grid}:
            # The eigenspectra are fitted on a grid that the shards are not on.
            fitter = Fitter(self.weights, check, device=self.workers.device, measure=False)
        columns, show = [], self.progress("evaluation", len(labels)) if self.progress else None
        for first in range(0, len(labels), _FIT):
            batch = [
                Prepared(f, v, float(row["snr"]), float((v > 0).mean()), identity=_identity(row))
                for f, v, row in zip(*(x[first : first + _FIT] for x in (flux, ivar, labels)), strict=True)
            ]
            fitted = fitter.fit(batch, with_pdf=False).columns
            columns.append({name: np.asarray(values) for name, values in fitted.items()})
            if show:
                show(first + len(batch))
        joined = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
        table = QTable(
            {name: values for name, values in joined.items() if values.ndim == 1 and values.dtype != object}
        )
        table["z_label"], table["is_quasar"] = labels["z"], labels["is_quasar"]
        return table

    # ---- plan

    def plan(self, *, seconds_per_step=None):
        """What a run would do and take, as lines of text.

        Parameters
        ----------
        seconds_per_step : float, optional
            Measured; the training's hours follow.
        """
        rows, part = self.rows()
        n, grid = len(rows), self.recipe.grid
        lines = [
            f"{n} spectra of {len(np.unique(rows['object']))} objects: "
            + ", ".join(f"{(part == p).sum()} {p}" for p in PARTS)
        ]
        if self.sas is None:
            there = sum(1 for _ in (self.directory / "spectra").rglob("spec-*.fits"))
            left = max(n - there, 0)
            lines.append(
                f"fetch {left} files, {_size(left * _FILE_MB)}, {_hours(left / _FILES_PER_SECOND)} at {_FILES_PER_SECOND:g} files a second"
            )
        shards = n * grid.n_pixels * 4 / 1e6
        lines.append(
            f"shards: {_size(shards)}, {_hours(n / _SPECTRA_PER_SECOND)} of reading, while files arrive"
        )
        disk = shards + (0 if self.sas is not None or self.discard else n * _FILE_MB)
        lines.append(f"disk: {_size(disk)} in {self.directory}")
        steps, batch = self.recipe.training["steps"], self.recipe.training["batch_size"]
        took = (
            ""
            if seconds_per_step is None
            else f", {_hours(steps * seconds_per_step)} on {self.device} as measured just now"
        )
        lines.append(
            f"training: {steps} steps of {batch} spectra, {steps * batch * self.real_fraction / max((part == 'train').sum(), 1):.1f} times through the sample{took}"
        )
        lines.append(
            f"calibration on {min((part == 'calibration').sum(), _MOST_CALIBRATION)}, test on {(part == 'test').sum()} spectra"
        )
        return lines


def shard_labels(directory):
    """Labels of a directory of shards."""
    info = json.loads((Path(directory) / "shards.json").read_text())
    parts = [np.load(Path(directory) / f"{name}-labels.npy") for name in info["shards"]]
    return np.concatenate(parts) if parts else np.empty(0)


def _spec_id(row):
    return SpecID(int(row["plate"]), int(row["mjd"]), int(row["fiber"]))


def _identity(row):
    return {name: int(row[name]) for name in ("plate", "mjd", "fiber")}


def _simulated(simulator, n):
    """Simulated spectra as a set for calibration."""
    batches = [simulator.draw(min(1000, n - first), _SEED + first) for first in range(0, n, 1000)]
    labels = np.zeros(n, LABEL_DTYPE)
    labels["z"] = np.concatenate([batch.z.cpu().numpy() for batch in batches])
    labels["is_quasar"] = np.concatenate([batch.label.cpu().numpy() == 0 for batch in batches])
    labels["weight"] = 1.0
    flux, ivar = (
        np.concatenate([getattr(b, name).cpu().numpy() for b in batches]) for name in ("flux", "ivar")
    )
    return CalibrationSet(flux, ivar, labels, 0.5, 0.05)


def _can_draw():
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _size(megabytes):
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def _hours(seconds):
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{math.ceil(seconds / 60)} minutes"
