#!/usr/bin/env python3
"""Renders what a command printed to a terminal as an SVG: text, no picture.

    target/release/drift-demo ... --color always | scripts/svg.py '$ make demo' > docs/img/demo.svg

The argument is the line that stands above the output. Reads the colours that `anstyle` writes (SGR codes).
"""

import re
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, PAD = 7.8, 18, 14  # of a character of 13 px, of a line, around all
CLASSES = {"1": "b", "2": "d", "31": "r", "32": "g", "33": "y", "36": "c"}
STYLE = """
svg { background: #0d1117; border-radius: 8px }
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #e6edf3; white-space: pre }
.b { font-weight: bold } .d { fill: #8b949e } .r { fill: #ff7b72 } .g { fill: #56d364 } .y { fill: #e3b341 }
.c { fill: #79c0ff }
"""


def spans(line):
    """The parts of a line with their classes."""
    classes, out = [], []
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if not code:
            if part:
                text = escape(part).replace("  ", "\u00a0 ")
                out.append(f'<tspan class="{" ".join(classes)}">{text}</tspan>' if classes else text)
            continue
        for number in code.group(1).split(";"):
            if number in ("", "0"):
                classes = []
            elif number in CLASSES:
                classes = classes + [CLASSES[number]]
    return "".join(out)


def main():
    lines = [f"\x1b[36m{sys.argv[1]}\x1b[0m"] if len(sys.argv) > 1 else []
    lines += sys.stdin.read().rstrip("\n").split("\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    width = max(map(len, plain)) * WIDTH + 2 * PAD
    height = len(lines) * HEIGHT + 2 * PAD
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">')
    print(f"<title>{escape(plain[0])}</title><style>{STYLE}</style>")
    for number, line in enumerate(lines):
        y = PAD + HEIGHT * (number + 0.8)
        print(f'<text x="{PAD}" y="{y:.1f}" xml:space="preserve">{spans(line)}</text>')
    print("</svg>")


main()
