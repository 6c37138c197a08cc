"""QR codes: drawn for screens and for paper. Never as Micro QR, which phones do not read."""

import segno
from markupsafe import Markup


def qr_code(text: str, *, for_paper: bool = False) -> segno.QRCode:
    """A code; on paper it can still be read when a quarter of it is soiled."""
    return segno.make(text, error="q" if for_paper else "m", micro=False)


def qr_picture(text: str, *, for_paper: bool = False) -> Markup:
    """A code as SVG within a page, without a style of its own; the words beside it are the page's."""
    drawn = qr_code(text, for_paper=for_paper).svg_inline(border=2, omitsize=True)
    return Markup(drawn)  # noqa: S704 - made here, of modules alone
