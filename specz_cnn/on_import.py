"""Do something when another package is imported, without importing it."""

from __future__ import annotations

import sys
from importlib import import_module, util
from importlib.abc import MetaPathFinder

__all__ = ["when_imported"]


def when_imported(name, modules):
    """Import modules as soon as a package is there: at once if it has been imported, else right after it will be.

    Parameters
    ----------
    name : str
        Name of the package that is waited for.
    modules : sequence of str
        Names of the modules to import then.
    """
    if name in sys.modules:
        _import_all(modules)
    elif not any(isinstance(finder, _Watcher) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher(name, modules))


def _import_all(modules):
    for module in modules:
        import_module(module)


class _Watcher(MetaPathFinder):
    """Finds no module itself, but sees that one is imported; gone once it was."""

    def __init__(self, name, modules):
        self.name, self.modules = name, modules
        self.asking = False

    def find_spec(self, fullname, path=None, target=None):
        """The spec that the other finders give, with a loader that does more; None for all other modules."""
        if fullname != self.name or self.asking:
            return None
        self.asking = True  # the lookup below asks this finder, too
        try:
            spec = util.find_spec(fullname)
        finally:
            self.asking = False
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            # The loader is as it was before anything of the package runs, and stays so.
            del spec.loader.exec_module
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _import_all(self.modules)

        spec.loader.exec_module = exec_module
        return spec
