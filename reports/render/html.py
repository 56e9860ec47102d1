"""One page with every table and figure: no network, no script, light and dark, readable on a phone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.layout import LaidCell, Layout, Table, lay_out
from reports.render import plain

if TYPE_CHECKING:
    from reports.drawing import Figure

TEMPLATES = Path(__file__).parent


def page(
    tables: Sequence[Table],
    figures: Sequence["Figure"] = (),
    *,
    title: str = "Efficiency and ablations",
) -> str:
    """Write the page; everything that comes from records is escaped by the template engine."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    return environment.get_template("page.html.j2").render(
        title=title,
        tables=[(table, lay_out(table)) for table in tables],
        # The drawings are matplotlib's, which escapes what it writes.
        figures=[(figure, Markup(figure.svg), lay_out(figure.data)) for figure in figures],  # noqa: S704
    )


def render(table: Table) -> str:
    """Write one table as a page of its own."""
    return page([table], title=table.title)


__all__ = ["LaidCell", "Layout", "page", "render"]
