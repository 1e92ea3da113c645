"""Recipes: TOML files that say how a set of weights was made, and how to make it again.

A recipe has the tables ``[model]`` (name, architecture, arguments, bins or target), ``[simulation]``
(:class:`~specz_cnn.simulate.SimulationConfig`), ``[training]`` (steps, batch_size, rate ...), optionally ``[real]``
(shards of real spectra mixed in) and ``[start]`` (weights to start from).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from specz_cnn.io.grid import ModelGrid
from specz_cnn.models.network import architectures
from specz_cnn.simulate import SimulationConfig, Simulator
from specz_cnn.training.loop import CHECKPOINT, Trainer
from specz_cnn.training.shards import read_shards
from specz_cnn.training.sources import Examples, MixedSource, ShardSource, SimulatedSource
from specz_cnn.training.workers import Workers

__all__ = [
    "Recipe",
    "build_simulator",
    "build_trainer",
    "packaged_recipes",
    "read_recipe",
    "shard_examples",
]

_TABLES = {"model", "simulation", "training", "real", "start", "validation"}
_VALIDATION_SEED = 987_654_321
_SEEDS_APART = 100_000  # of workers
_MOST_VALIDATION = 4096  # spectra by which the training is judged as it goes on


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe; see the module's text for the tables."""

    model: dict
    training: dict
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    real: dict = field(default_factory=dict)
    start: dict = field(default_factory=dict)
    validation: dict = field(default_factory=dict)
    text: str = ""

    @property
    def grid(self):
        """The model grid."""
        return ModelGrid(**self.model.get("grid", {}))

    @property
    def architecture(self):
        """The class of the network."""
        return architectures()[self.model["architecture"]]

    def build_network(self):
        """The network with random weights, from the recipe's seed."""
        torch.manual_seed(self.training.get("seed", 0))
        return self.architecture(**{"n_pixels": self.grid.n_pixels, **self.model.get("arguments", {})})


def packaged_recipes():
    """Paths of the recipes of the packaged weights, by name."""
    folder = Path(__file__).parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(path):
    """Read a recipe from a path, or a packaged one by its name.

    Raises
    ------
    FileNotFoundError
        If there is neither such a file nor such a packaged recipe.
    ValueError
        If a table or a setting is unknown.
    """
    path = Path(path)
    if not path.is_file():
        known = packaged_recipes()
        if str(path) not in known:
            raise FileNotFoundError(f"no recipe {path}; packaged ones are {', '.join(known)}")
        path = known[str(path)]
    text = path.read_text()
    tables = tomllib.loads(text)
    extra = set(tables) - _TABLES
    if extra:
        raise ValueError(f"{path}: unknown tables {sorted(extra)}")
    if tables.get("model", {}).get("architecture") not in architectures():
        raise ValueError(f"{path}: [model] architecture must be one of {list(architectures())}")
    simulation = SimulationConfig.from_dict(tables.pop("simulation", {}))
    return Recipe(simulation=simulation, text=text, **tables)


def build_trainer(recipe, data, directory, *, device="cpu", noise_keep=None, workers=None):
    """The trainer of a recipe.

    Parameters
    ----------
    recipe : Recipe
    data : path-like or None
        Directory with ``templates/``, ``statistics/`` and the noise file; None for the compact bank of the package.  Not
        looked at where every batch is full of real spectra.
    directory : path-like
        Run directory.
    device : str
    noise_keep : array_like of bool, optional
        Rows of the noise file to use; by default those outside the validation half.
    workers : Workers, optional
        This process among those that train together: it makes its share of each batch.

    Returns
    -------
    Trainer
    """
    settings = dict(recipe.training)
    batch_size, seed = settings.pop("batch_size"), settings.pop("seed", 0)
    workers = workers or Workers(device=device)
    device, seed = workers.device, seed + _SEEDS_APART * workers.rank
    network, preprocess = recipe.build_network(), recipe.architecture.preprocess
    real = dict(recipe.real)
    n_real = real.pop("per_batch", 0)
    sources, validation = [], {}
    if n_real < batch_size:
        simulator = build_simulator(
            data, grid=recipe.grid, config=recipe.simulation, noise_keep=noise_keep, device=device
        )
        sources.append(SimulatedSource(simulator, workers.share(batch_size - n_real), seed, preprocess))
        made = simulator.draw(recipe.validation.get("n_simulated", 2048), _VALIDATION_SEED)
        validation["simulated"] = Examples.of(made, preprocess)
    if n_real:
        shards = real.pop("shards")
        sources.append(
            ShardSource(shards, workers.share(n_real), seed, preprocess=preprocess, device=device, **real)
        )
    source = sources[0] if len(sources) == 1 else MixedSource(sources)
    if recipe.start and not (Path(directory) / CHECKPOINT).exists():
        start_from(network, recipe.start, source)
    if "shards" in recipe.validation:
        examples = shard_examples(recipe.validation["shards"], preprocess, device)
        if len(examples.z):
            validation["real"] = examples
    trainer = Trainer(
        network,
        source,
        directory,
        bins=recipe.model.get("bins"),
        target=recipe.model.get("target"),
        validation=validation,
        device=device,
        workers=workers,
        **settings,
    )
    if n_real < batch_size:
        trainer.bank = "compact" if data is None else "full"
    return trainer


def shard_examples(directory, preprocess, device="cpu"):
    """The spectra of a directory of shards, or a few thousand of them, as examples to judge by."""
    flux, ivar, labels = read_shards(directory, limit=_MOST_VALIDATION)
    z = torch.from_numpy(labels["z"].astype(np.float32)).to(device)
    quasar = torch.from_numpy(labels["is_quasar"].copy()).to(device)
    return Examples(preprocess(flux, ivar).to(device), z, quasar)


def build_simulator(data, *, grid, config, noise_keep=None, device="cpu"):
    """The simulator of a directory of templates, or of the compact bank if ``data`` is None.

    Parameters
    ----------
    data : path-like or None
    grid : ModelGrid
    config : SimulationConfig
    noise_keep : array_like of bool, optional
        Rows of the noise file to use; by default those outside the validation half.
    device : str or `torch.device`

    Returns
    -------
    Simulator
    """
    if data is not None and noise_keep is None:
        noise_keep = outside_validation(Path(data) / "dev_spectra.npz")
    sky_keep = None if data is None else outside_validation(Path(data) / "sky_fibres.npz")
    return Simulator(data, grid=grid, config=config, noise_keep=noise_keep, sky_keep=sky_keep, device=device)


def outside_validation(path):
    """Rows of a file of spectra that do not belong to the validation half; None (all) without such a file or groups.

    Sky fibres belong together by plate.
    """
    if not Path(path).exists():
        return None
    from specz_cnn.evaluate.split import split_half

    with np.load(path) as data:
        if "group" in data:
            groups = data["group"]
        elif "plate_mjd_fiber" in data:
            groups = data["plate_mjd_fiber"][:, 0]
        else:
            return None
        return np.asarray(split_half(groups)) != "validation"


def start_from(network, start, source=None):
    """Copy parameters from packaged or trained weights whose name begins with one of ``start["prefixes"]``.

    With ``start["slim"]``, a number of steps, those weights are the teacher's of a network with less arithmetic.
    """
    if "slim" in start:
        from specz_cnn.models.registry import load_model
        from specz_cnn.training.slimming import slim

        slim(network, load_model(start["weights"]), source, start["slim"])
        return
    path = Path(start["weights"])
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)["averaged"]
    else:
        from specz_cnn.models.registry import load_model

        state = load_model(start["weights"]).state_dict()
    prefixes = tuple(start.get("prefixes", [""]))
    wanted = {name: value.float() for name, value in state.items() if name.startswith(prefixes)}
    if not wanted:
        raise ValueError(f"{path} has no parameter with a prefix in {prefixes}")
    _, unexpected = network.load_state_dict(network.adapt(wanted), strict=False)
    if unexpected:
        raise ValueError(f"{path} has parameters {unexpected} that the network lacks")
