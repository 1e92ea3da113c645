"""The warning flags of a redshift: one registry that defines each, and everything made from it.

Bits below 24 have the positions and the meaning of SDSS and redrock ``ZWARNING``, so that pipelines need no new habit;
flags of our own start at bit 24.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import EnumType, IntFlag
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FLAGS", "FlagDefinition", "RedshiftFlag", "decode_flags"]


@dataclass(frozen=True)
class FlagDefinition:
    """What one flag is called and means.

    Parameters
    ----------
    bit : int
        Position of the bit; the flag's value is ``1 << bit``.
    name : str
        Name in upper case, unique.
    line : str
        The meaning in one line.
    paragraph : str
        The exact condition, and what to do about it.
    """

    bit: int
    name: str
    line: str
    paragraph: str

    @property
    def value(self):
        """``1 << bit``."""
        return 1 << self.bit


#: The registry, in order of the bits.
FLAGS = (
    FlagDefinition(
        1,
        "LITTLE_COVERAGE",
        "Less than half of the network's wavelength range has data.",
        "Fewer than half of the pixels between 3500 and 10690 Angstrom carry weight, because the spectrum is short or "
        "most of it is masked. The networks were trained on spectra that cover at least most of the range; with fewer "
        "lines to tell one redshift from another the probabilities are less trustworthy. ZWARNING has the same bit.",
    ),
    FlagDefinition(
        2,
        "SMALL_DELTA",
        "The runner-up redshift is nearly as probable as the best one.",
        "The probability of the second peak, more than 6000 km/s away from the first, is too close to that of the "
        "first; the threshold of the ratio was chosen on held-out spectra and is part of the model's calibration. "
        "Look at z_second and p_second. ZWARNING calls the same bit SMALL_DELTA_CHI2.",
    ),
    FlagDefinition(
        4,
        "MANY_OUTLIERS",
        "Many pixels are far from the best fit: this looks like no quasar that the eigenspectra know.",
        "The share of pixels (of 276 km/s) that lie more than 5 sigma away from the best combination of eigenspectra is "
        "larger than in 98 of 100 real quasars: deep absorption, wrong flux calibration or sky subtraction, another kind of "
        "object, or a bright quasar with lines of its own. The redshift may well be right. ZWARNING has the same bit.",
    ),
    FlagDefinition(
        5,
        "Z_FITLIMIT",
        "The redshift is at or beyond the limits the model was trained for.",
        "The redshift lies within 1000 km/s of the edge of the model's range or outside it, or the cross-check places "
        "the object outside. A model with a narrow range (rnet-z2.8-3.0) answers with a redshift near its range "
        "whatever its input is. ZWARNING has the same bit.",
    ),
    FlagDefinition(
        9,
        "NODATA",
        "No usable pixel: there is nothing to measure.",
        "Every pixel in the network's wavelength range is masked, not finite or without weight, or the flux is "
        "constant. The redshift is NaN. ZWARNING has the same bit.",
    ),
    FlagDefinition(
        11,
        "POORDATA",
        "The spectrum is too noisy for any redshift to be expected.",
        "In none of twelve segments of the wavelength range does the mean signal-to-noise ratio per SDSS pixel (69 km/s) "
        "reach 0.3: fainter than nearly all spectra of the training samples. Segments, because a quasar at z > 6 is dark "
        "in all but the reddest. The result may still be right if its lines are strong. ZWARNING has the same bit.",
    ),
    FlagDefinition(
        24,
        "LOW_CONFIDENCE",
        "The calibrated probability of being a quasar with this redshift is low.",
        "The confidence, the calibrated probability that this is a quasar and its redshift right within 3000 km/s, is "
        "below the model's threshold. The threshold was "
        "chosen on held-out spectra so that of those without a flag at most one in a thousand is wrong, and at most one "
        "in a thousand stars, galaxies and sky spectra is left.",
    ),
    FlagDefinition(
        25,
        "NOT_QSO",
        "This does not look like the spectrum of a quasar.",
        "The calibrated probability of being a quasar is below one half: a star, a galaxy without broad lines, or "
        "blank sky. The redshift is the best one for a quasar and most likely means nothing.",
    ),
    FlagDefinition(
        26,
        "MODELS_DISAGREE",
        "The cross-check by another network gives another redshift.",
        "The redshift of the cross-check model differs by more than 3000 km/s, and the cross-check is itself not "
        "hopeless (its own confidence is at least one half, where it has one). See z_check.",
    ),
    FlagDefinition(
        27,
        "BAD_INPUT",
        "The input is not a spectrum that can be used.",
        "Converting the input failed: a spectral axis that is no wavelength, shapes that do not match, wavelengths that "
        "do not ascend or descend. The redshift is NaN; the column error says what was wrong.",
    ),
    FlagDefinition(
        28,
        "READ_ERROR",
        "The file could not be read.",
        "The file is missing, damaged or of no format that is known. The redshift is NaN; the column error says what was "
        "wrong.",
    ),
    FlagDefinition(
        29,
        "REST_FRAME",
        "The redshift is zero, as that of a spectrum that was shifted to the rest frame.",
        "The redshift is below 0.01. Hardly any quasar is that near, but every quasar whose wavelengths were divided by "
        "1 + z is, as specutils' shift_spectrum_to leaves them: redshifts are measured from the axis as it is. Give the "
        "observed wavelengths. Of a Seyfert galaxy that really is that near, the redshift may well be right.",
    ),
)


def _documentation():
    """Docstring of RedshiftFlag: an rst definition list of the registry."""
    lines = [
        "Warning flags of a redshift; 0 means: use it.",
        "",
        "Flags combine with ``|`` and are tested with ``in``: ``RedshiftFlag.NOT_QSO in result.flags``.",
        "Bits 0 to 23 are those of SDSS ``ZWARNING``.",
        "",
    ]
    for flag in FLAGS:
        lines += [f"``{flag.name}`` (bit {flag.bit}, value {flag.value})"]
        lines += textwrap.wrap(
            f"*{flag.line}* {flag.paragraph}", 110, initial_indent="    ", subsequent_indent="    "
        )
        lines += [""]
    return "\n".join(lines)


if TYPE_CHECKING:
    # Type checkers do not see the members of a table; to them every name is one.
    class _AnyMember(EnumType):
        def __getattr__(cls, name: str) -> RedshiftFlag: ...

    class RedshiftFlag(IntFlag, metaclass=_AnyMember): ...

else:
    RedshiftFlag = IntFlag("RedshiftFlag", {flag.name: flag.value for flag in FLAGS}, module=__name__)
    RedshiftFlag.__doc__ = _documentation()


@overload
def decode_flags(flags: int, *, lines: bool = False) -> list[str]: ...


@overload
def decode_flags(flags: Sequence[int] | np.ndarray, *, lines: bool = False) -> list[list[str]]: ...


def decode_flags(flags: Any, *, lines: bool = False) -> Any:
    """Names of the flags that are set.

    Parameters
    ----------
    flags : int, RedshiftFlag or array_like of int
        One value, or a column of a results table.
    lines : bool, optional
        Give the meaning in one line in place of the name.

    Returns
    -------
    list of str, or list of list of str
        For a number, names (or lines) in order of the bits, empty for 0; for an array of shape (n,), n such lists.
        A bit that no flag has appears as ``"BIT_<number>"``.

    Raises
    ------
    ValueError
        If a value is negative or the array has more than one dimension.

    Examples
    --------
    >>> from specz_cnn import decode_flags
    >>> decode_flags(33554436)
    ['SMALL_DELTA', 'NOT_QSO']
    >>> decode_flags([0, 512])
    [[], ['NODATA']]
    """
    values = np.asarray(flags)
    if values.ndim > 1:
        raise ValueError(f"flags must be a number or one-dimensional, not of shape {values.shape}")
    if values.ndim == 1:
        return [decode_flags(value, lines=lines) for value in values.tolist()]
    value = int(values)
    if value < 0:
        raise ValueError(f"flags cannot be negative: {value}")
    known = {flag.bit: flag.line if lines else flag.name for flag in FLAGS}
    return [known.get(bit, f"BIT_{bit}") for bit in range(value.bit_length()) if value >> bit & 1]
