"""Settings of the package.

Every setting is read at the moment of a call, so that changing `conf`, or using ``conf.set_temp``, takes effect at
once.  Lasting changes go into the file that ``astropy.config.get_config_filename("specz_cnn", "specz_cnn")`` names, for
example ``retries = 8``.
"""

from __future__ import annotations

from pathlib import Path

from astropy import config

__all__ = ["Conf", "cache_directory", "conf"]


class _Item(config.ConfigItem):
    rootname = "specz_cnn"

    def __init__(self, default, description, cfgtype=None):
        # Named after the package, so that items stand at the top of specz_cnn.cfg rather than in a [config] section.
        super().__init__(default, description, cfgtype=cfgtype, module="specz_cnn")


class Conf(config.ConfigNamespace):
    """Configuration parameters of `specz_cnn`."""

    sas_baseurl = _Item("https://data.sdss.org/sas", "Base URL of the SDSS science archive server.")
    skyserver_baseurl = _Item("https://skyserver.sdss.org", "Base URL of the SDSS SkyServer.")
    data_release = _Item(16, "SDSS data release to search and download from.", "integer(min=8)")
    timeout = _Item(60.0, "Seconds without a byte after which a request is given up.", "float(min=0.0)")
    retries = _Item(4, "Further attempts after a request that failed for a passing reason.", "integer(min=0)")
    connections = _Item(8, "Parallel connections for downloads.", "integer(min=1, max=64)")
    cache_dir = _Item(
        "", "Directory of downloaded spectra; if empty, the package's cache directory.", "string()"
    )
    default_model = _Item("rnet-e", "Model used when none is named.", "string()")
    default_cross_check = _Item(
        "rnet-pz", "Model that gives the second opinion when none is named; empty for none.", "string()"
    )


conf = Conf()


def cache_directory() -> Path:
    """Directory that holds downloaded spectra.

    Returns
    -------
    `~pathlib.Path`
        ``conf.cache_dir`` if it is set (it need not exist), else the package's own cache directory.
    """
    if conf.cache_dir:
        return Path(conf.cache_dir).expanduser()
    return Path(config.get_cache_dir("specz_cnn"))
