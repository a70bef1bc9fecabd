"""Figures as elements of a page: nothing but shapes and words, and ids of their own."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from markupsafe import Markup

from normbench.report.clean import clean

_SHAPES = frozenset(
    [
        "svg",
        "g",
        "defs",
        "use",
        "symbol",
        "path",
        "rect",
        "circle",
        "ellipse",
        "line",
        "polyline",
        "polygon",
        "text",
        "tspan",
        "title",
        "desc",
        "clipPath",
        "mask",
        "pattern",
        "marker",
        "linearGradient",
        "radialGradient",
        "stop",
        "image",
    ]
)
_WORDS = frozenset({"text", "tspan", "title", "desc"})
_LOCAL = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*")


def inline(svg: str, prefix: str, label: str) -> Markup:
    """An SVG as part of a page, with ids that begin with ``prefix`` and ``label`` as its name.

    Scripts, styles, comments, handlers and addresses outside the figure are left out; ids that
    nothing refers to, too. Its size becomes a maximum: the page scales it down, never up.
    """
    root = ET.fromstring(clean(svg))
    _bare(root)
    names = _names(root, prefix)
    for element in root.iter():
        _attributes(element, names)
        if element.tag not in _WORDS:
            element.text = None
        for child in element:
            child.tail = child.tail if element.tag in _WORDS else None
    root.tail = None
    width = _width(root)
    for name in ("width", "height", "style", "class"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": clean(label)}
    if width:
        root.set("style", f"--width: {width:g}px")
    return Markup(ET.tostring(root, encoding="unicode"))


def _bare(element: ET.Element) -> None:
    """Take the namespaces off, which a page does not need, and drop what is no shape."""
    element.tag = _local(element.tag)
    for child in list(element):
        if _local(child.tag) in _SHAPES:
            _bare(child)
        else:
            element.remove(child)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _names(root: ET.Element, prefix: str) -> dict[str, str]:
    """A short new name for every id that is referred to, in the order of the figure."""
    used: set[str] = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if _local(name) == "href" and value.startswith("#"):
                used.add(value[1:])
            used.update(_LOCAL.findall(value))
    own = [i for e in root.iter() if (i := e.get("id")) is not None and i in used]
    return {name: f"{prefix}{n}" for n, name in enumerate(dict.fromkeys(own))}


def _attributes(element: ET.Element, names: dict[str, str]) -> None:
    for full, value in list(element.attrib.items()):
        name = _local(full)
        del element.attrib[full]
        if name == "id":
            value = names.get(value, "")
        elif name == "href":
            picture = element.tag == "image" and _PICTURE.fullmatch(value)
            value = value if picture else "#" + names[value[1:]] if value[1:] in names else ""
        else:
            value = _LOCAL.sub(lambda m: f"url(#{names.get(m[1], '')})", value)
            if "url(" in _LOCAL.sub("", value) or ("import" in value and name == "style"):
                value = ""
        if value and not name.lower().startswith(("on", "xmlns", "space")):
            element.set(name, value)


def _width(root: ET.Element) -> float | None:
    """The width in pixels at which the figure was drawn."""
    box = re.split(r"[\s,]+", root.get("viewBox", "").strip())
    try:
        return round(float(box[2]) * 4 / 3, 1)  # drawn in points
    except (IndexError, ValueError):
        return None
