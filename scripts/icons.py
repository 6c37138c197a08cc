"""Draw the home screen icons anew from their SVG (they are kept in git): `python scripts/icons.py`."""

import shutil
import subprocess
import sys
from pathlib import Path

ICONS = Path(__file__).resolve().parent.parent / "src" / "dewpond" / "web" / "static" / "icons"

#: What browsers ask of an installable page. The drawing keeps to the middle, so that any mask may be cut from it.
SIZES = (192, 512)


def main() -> int:
    program = shutil.which("rsvg-convert")
    if program is None:
        sys.stderr.write("rsvg-convert is not installed; on Debian it comes with librsvg2-bin\n")
        return 1
    for size in SIZES:
        target = ICONS / f"icon-{size}.png"
        subprocess.run(
            [program, "--width", str(size), "--height", str(size), "--output", target, ICONS / "icon.svg"], check=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
