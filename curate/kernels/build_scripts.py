"""Write `scripts.npz`: the script of every Unicode code point, as a two-stage table of one byte each.

Run by hand (`python -m curate.kernels.build_scripts`) when Unicode changes; needs the package `fonttools`, whose
`unicodedata.Scripts` holds Unicode's Scripts.txt and the ISO 15924 codes (Unicode License V3).
Common, inherited and unassigned code points are 0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curate.kernels.build_tables import CODE_POINTS, two_stages


def main() -> None:
    """Write the file beside this module."""
    from fontTools import unicodedata  # only where tables are made

    codes = ["Zyyy"]
    numbers = np.zeros(CODE_POINTS, np.uint8)
    for c in range(CODE_POINTS):
        code = unicodedata.script(chr(c))
        if code not in ("Zyyy", "Zinh", "Zzzz"):
            if code not in codes:
                codes.append(code)
            numbers[c] = codes.index(code)
    if len(codes) > 256:
        raise ValueError(f"{len(codes)} scripts; the table holds bytes")
    stage1, stage2 = two_stages(numbers)
    np.savez_compressed(Path(__file__).with_name("scripts.npz"), stage1=stage1, stage2=stage2, codes=np.array(codes, "S4"))


if __name__ == "__main__":
    main()
