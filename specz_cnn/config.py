"""Settings of the package.

Every setting is read at the moment of a call, so that changing `conf`, or using ``conf.set_temp``, takes effect at
once.  Lasting changes go into ``specz_cnn.cfg`` in the astropy configuration directory.
"""

from __future__ import annotations

from pathlib import Path

from astropy import config

__all__ = ["Conf", "cache_directory", "conf"]


def _item(default, description, cfgtype=None):
    # Named after the package, so that the items stand at the top of specz_cnn.cfg rather than in a [config] section.
    return config.ConfigItem(default, description, cfgtype=cfgtype, module="specz_cnn")


class Conf(config.ConfigNamespace):
    """Configuration parameters of `specz_cnn`."""

    rootname = "specz_cnn"

    sas_baseurl = _item("https://data.sdss.org/sas", "Base URL of the SDSS science archive server.")
    skyserver_baseurl = _item("https://skyserver.sdss.org", "Base URL of the SDSS SkyServer.")
    data_release = _item(16, "SDSS data release to search and download from.", "integer(min=8)")
    timeout = _item(60.0, "Seconds without a byte after which a request is given up.", "float(min=0.0)")
    retries = _item(4, "Further attempts after a request that failed for a passing reason.", "integer(min=0)")
    connections = _item(8, "Parallel connections for downloads.", "integer(min=1, max=64)")
    cache_dir = _item(
        "", "Directory of downloaded spectra; if empty, the astropy cache directory.", "string()"
    )
    default_model = _item("rnet-e", "Model used when none is named.", "string()")
    default_cross_check = _item(
        "rnet-pz", "Model that gives the second opinion when none is named; empty for none.", "string()"
    )


conf = Conf()


def cache_directory():
    """Directory that holds downloaded spectra.

    Returns
    -------
    `~pathlib.Path`
        ``conf.cache_dir`` if it is set, else ``specz_cnn`` in the astropy cache directory.  It need not exist yet.
    """
    if conf.cache_dir:
        return Path(conf.cache_dir).expanduser()
    return Path(config.get_cache_dir("astropy")).parent / "specz_cnn"
