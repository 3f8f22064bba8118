"""Figures inside of a page: SVG whose texts are texts, the same bits each time."""

from io import BytesIO
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

NAMES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}
SVG = f"{{{NAMES['']}}}"


def svg(figure: Figure, name: str, says: str) -> Markup:
    """A figure as an element of a page. Names in it begin with ``name``, so that those of two figures differ.

    Args:
        says: what it shows, for those who hear the page.
    """
    import matplotlib

    buffer = BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    for prefix, address in NAMES.items():
        ElementTree.register_namespace(prefix, address)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [one for one in parent if one.tag in (f"{SVG}metadata", f"{SVG}style")]:  # rules would be the page's
            parent.remove(child)
        for key, value in parent.attrib.items():
            parent.attrib[key] = _renamed(key, value, name)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.attrib.pop("height", None)
    root.attrib |= {"role": "img", "aria-label": says, "style": f"max-width:{width:g}pt"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _renamed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href") and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-") if "url(#" in value else value
