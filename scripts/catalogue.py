"""Bring the Chinese catalogue up to date with what the pages say: `python scripts/catalogue.py [MORE.po …]`.

Sentences that are new stand there empty until somebody translates them, those that are gone are taken out. Catalogues
named on the command line are merged in. `tests/house/test_words.py` holds that nothing is missing.
"""

import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "src" / "dewpond" / "web"
CATALOGUE = WEB / "locales" / "zh_CN" / "LC_MESSAGES" / "dewpond.po"

_METHODS = [("templates/**.html", "jinja2"), ("templates/**.svg", "jinja2"), ("**.py", "python")]
#: Lines of the header that change without anything having changed.
_SHIFTING = ('"POT-', '"PO-', '"Last-', '"Generated', '"Report', '"Project', '"Language-Team')
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "marked": None}


def sentences() -> Catalog:
    """Everything that the pages say, without translations."""
    found = Catalog(locale="zh_CN")
    options = {"templates/**": {"trimmed": "true", "newstyle_gettext": "true", "extensions": "jinja2.ext.i18n"}}
    for path, _, message, comments, context in extract_from_dir(
        WEB, method_map=_METHODS, options_map=options, keywords=_KEYWORDS
    ):
        found.add(message, locations=[(path, 0)], auto_comments=comments, context=context)
    return found


def main() -> int:
    held = _read(CATALOGUE)
    known = {message.id: message.string for message in held if message.id}
    for name in sys.argv[1:]:
        known |= {message.id: message.string for message in _read(Path(name)) if message.id and message.string}
    header = "# What the pages say, in Chinese. The English sentence is the key."
    fresh = Catalog(locale="zh_CN", header_comment=header, fuzzy=False)
    missing = 0
    for message in sorted(sentences(), key=lambda one: str(one.id)):
        if not message.id:
            continue
        string = known.get(message.id) or known.get(message.id[0] if isinstance(message.id, tuple) else message.id)
        if isinstance(message.id, tuple) and isinstance(string, str):
            string = (string,)
        fresh.add(message.id, string=string)
        missing += not string or string == ("",)
    with CATALOGUE.open("wb") as file:
        write_po(file, fresh, width=110, omit_header=False, sort_output=False, include_lineno=False)
    text = CATALOGUE.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in text if not line.startswith(_SHIFTING)]
    CATALOGUE.write_text("".join(kept), encoding="utf-8")
    print(f"{len(fresh)} sentences, {missing} of them without Chinese")
    return 0


def _read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="zh_CN")


if __name__ == "__main__":
    sys.exit(main())
