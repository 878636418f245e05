"""HTML and SVG as values: what is put into an element is escaped, unless it is an element itself."""

from html import escape


class Markup(str):
    """Text that is HTML already, because `tag` or `join` made it."""

    __slots__ = ()


Child = str | int | Markup | None


def text(value: str | int) -> Markup:
    """A string of a stranger's as HTML: escaped, and without what no document may contain."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value))
    return Markup(escape(shown, quote=True))


def join(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    return Markup("".join(c if isinstance(c, Markup) else text(c) for c in children if c is not None))


def tag(name: str, /, *children: Child, **attributes: str | int | float | None) -> Markup:
    """An element, well formed as XML too; attribute `cls` is `class`, and `_` in a name is `-`; None is left out."""
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
            words.append(f'{"class" if key == "cls" else key.replace("_", "-")}="{text(shown)}"')
    start = " ".join(words)
    return Markup(
        f"<{start}/>" if not children and name in _EMPTY else f"<{start}>{join(*children)}</{name}>"
    )


_EMPTY = frozenset({"meta", "br", "line", "circle", "rect", "polyline", "path"})
