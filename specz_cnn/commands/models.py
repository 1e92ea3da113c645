"""``specz-cnn models``: the packaged networks."""

from __future__ import annotations

import sys

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    """Add the arguments of the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    parser.add_argument(
        "names", nargs="*", metavar="MODEL", help="what these (names or files) are for, how good, how large"
    )
    parser.add_argument("--full", action="store_true", help="everything that their files say, as JSON")
    parser.add_argument("--verify", action="store_true", help="load each and compare the checksums")


def run(args):
    """List or show models.

    Parameters
    ----------
    args : `argparse.Namespace`

    Returns
    -------
    int
        0, or 1 if one is damaged.
    """
    from specz_cnn.models.info import WeightsError
    from specz_cnn.models.registry import list_models, load_model

    names = args.names or list_models()
    if args.verify:
        status = 0
        for name in names:
            try:
                print(f"{name}: ok, {load_model(name).info.tag}")
            except WeightsError as error:
                print(error, file=sys.stderr)
                status = 1
        return status
    if args.names:
        for name in names:
            (_show if args.full else _tell)(name)
    else:
        _list(names)
    return 0


def _list(names):
    from specz_cnn.models.cards import description_of
    from specz_cnn.models.registry import model_info, resolve_model

    if not names:
        print("no models are packaged", file=sys.stderr)
        return
    rows = [("name", "tag", "architecture", "redshifts", "size", "description")]
    for name in names:
        info = model_info(name)
        size = resolve_model(name)[0].stat().st_size / 1e6
        low, high = info.z_range
        rows.append(
            (
                name,
                info.tag,
                info.architecture,
                f"{low:g} to {high:g}",
                f"{size:.1f} MB",
                description_of(info),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def _tell(name):
    from specz_cnn.models.cards import summary_lines
    from specz_cnn.models.registry import load_model, model_info, resolve_model

    n_parameters = sum(parameter.numel() for parameter in load_model(name).parameters())
    size = resolve_model(name)[0].stat().st_size
    print("\n".join(summary_lines(model_info(name), n_bytes=size, n_parameters=n_parameters)))


def _show(name):
    """All metadata as indented JSON; the text of the recipe as it is."""
    import json
    from dataclasses import asdict

    from specz_cnn.models.registry import model_info

    values = asdict(model_info(name))
    text = values["recipe"].pop("text", "")
    print(json.dumps(values, indent=2))
    if text:
        print(f"\nrecipe:\n{text}")
