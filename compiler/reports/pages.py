"""Pages for a browser: the environment of their templates, and the files that stand in them as they are."""

from __future__ import annotations

import functools
from importlib import resources

import jinja2
from markupsafe import Markup

_FOLDER = resources.files(__package__) / "page"


@functools.cache
def page_environment() -> jinja2.Environment:
    """Where templates of `page/` come from, compiled once; what they show is escaped, what they lack is an error."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (_FOLDER / file).read_text()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_file(name: str) -> Markup:
    """A style sheet or script of `page/`."""
    return Markup((_FOLDER / name).read_text())
