"""Text from Jinja templates: the one environment with which pages, notebook tables and testbenches are rendered.

Templates, and the style sheets and scripts that they embed, are files of this package, named by their path in it
(``reports/web/templates/page.html.j2``). In HTML every value is escaped, so that a layer's or a file's name is only ever text.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The text of a template.

    Args:
        template: its path in the package.
        values: what it may name. In HTML texts are escaped; ``tojson`` makes JSON that is safe inside ``<script>``.

    Raises:
        jinja2.UndefinedError: the template names a value that is not there.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    """Jinja is imported here, so that commands which render nothing start without it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("skipstone", ""),
        autoescape=lambda name: name is None or not name.endswith(".v.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}

    def embedded(path: str) -> Markup:
        """A style sheet or script of the package, as it is."""
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, path)[0])

    environment.globals["embedded"] = embedded
    return environment
