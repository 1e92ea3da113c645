"""``.. flag-list::``: the registry of flags as a definition list."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from specz_cnn.results.flags import FLAGS


class FlagList(SphinxDirective):
    """Bit, name, value, line and paragraph of each flag."""

    def run(self):
        """A definition list."""
        lines = []
        for flag in FLAGS:
            lines += [f"``{flag.name}`` : bit {flag.bit}, value {flag.value}"]
            lines += [f"    **{flag.line}** {flag.paragraph}", ""]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="flag-list"), 0, container)
        return container.children


def setup(app):
    """Register the directive."""
    app.add_directive("flag-list", FlagList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
