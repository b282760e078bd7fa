"""Renders the kana atlas from open typefaces: `python -m trainables.data.render_kana`.

Needed only to make `kana_atlas.npz` anew; the faces are Debian packages (FACES names them). A
glyph is drawn in a box of 48 pixels with one scale per face, so small characters stay small.
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trainables.data.base import HIRAGANA

GLYPHS = (*HIRAGANA, *"0123456789")
BOX = 48  # pixels
EXTENT = 36  # pixels: the median glyph's larger side
HERE = Path(__file__).parent

# file, Debian package, licence of the face
FACES = (
    ("aoyagi-soseki.ttf", "fonts-aoyagi-soseki", "public domain"),
    ("AoyagiKouzanT.ttf", "fonts-aoyagi-kouzan-t", "public domain"),
    ("KouzanBrushFontSousyo.ttf", "fonts-kouzan-mouhitsu", "public domain"),
    ("kouzan-mouhitsu.ttf", "fonts-kouzan-mouhitsu", "public domain"),
    ("kouzan-mouhitsu-gyosho.ttf", "fonts-kouzan-mouhitsu", "public domain"),
    ("kiloji.ttf", "fonts-kiloji", "BSD-3-Clause"),
    ("kiloji_b.ttf", "fonts-kiloji", "BSD-3-Clause"),
    ("setofont.ttf", "fonts-seto", "OFL-1.1"),
    ("YOzRA_.ttf", "fonts-yozvox-yozfont-antique", "OFL-1.1"),
    ("YOzRC_.ttf", "fonts-yozvox-yozfont-cute", "OFL-1.1"),
    ("YOzBC_i.ttf", "fonts-yozvox-yozfont-cute", "OFL-1.1"),
    ("YOzRE_.ttf", "fonts-yozvox-yozfont-edu", "OFL-1.1"),
    ("YOzRN_.ttf", "fonts-yozvox-yozfont-new-kana", "OFL-1.1"),
    ("YOzRS_.ttf", "fonts-yozvox-yozfont-standard-kana", "OFL-1.1"),
    ("YOzBS_i.ttf", "fonts-yozvox-yozfont-standard-kana", "OFL-1.1"),
    ("KleeOne-Regular.ttf", "fonts-klee", "OFL-1.1"),
    ("KleeOne-SemiBold.ttf", "fonts-klee", "OFL-1.1"),
    ("YuseiMagic-Regular.ttf", "fonts-yusei-magic", "OFL-1.1"),
    ("ReggaeOne-Regular.ttf", "fonts-reggae", "OFL-1.1"),
    ("DotGothic16-Regular.ttf", "fonts-dotgothic16", "OFL-1.1"),
    ("ipaexg.ttf", "fonts-ipaexfont-gothic", "IPA-1.0"),
    ("ipaexm.ttf", "fonts-ipaexfont-mincho", "IPA-1.0"),
    ("ipamjm.ttf", "fonts-ipamj-mincho", "IPA-1.0"),
    ("sawarabi-gothic-medium.ttf", "fonts-sawarabi-gothic", "CC-BY-3.0"),
    ("sawarabi-mincho-medium.ttf", "fonts-sawarabi-mincho", "CC-BY-3.0"),
    ("BIZUDGothic-Regular.ttf", "fonts-morisawa-bizud-gothic", "OFL-1.1"),
    ("BIZUDGothic-Bold.ttf", "fonts-morisawa-bizud-gothic", "OFL-1.1"),
    ("BIZUDMincho-Regular.ttf", "fonts-morisawa-bizud-mincho", "OFL-1.1"),
    ("Mplus1-Regular.otf", "fonts-mplus", "OFL-1.1"),
    ("Mplus1-Black.otf", "fonts-mplus", "OFL-1.1"),
    ("Mplus1-Light.otf", "fonts-mplus", "OFL-1.1"),
    ("Mplus2-Medium.otf", "fonts-mplus", "OFL-1.1"),
    ("MTLc3m.ttf", "fonts-motoya-l-cedar", "Apache-2.0"),
    ("MTLmr3m.ttf", "fonts-motoya-l-maruberi", "Apache-2.0"),
    ("HanaMinA.ttf", "fonts-hanazono", "Hanazono or OFL-1.1"),
    ("Konatu.ttf", "fonts-konatu", "MIT"),
    ("VL-Gothic-Regular.ttf", "fonts-vlgothic", "M+ and BSD-3-Clause"),
    ("migu-1c-regular.ttf", "fonts-migmix", "IPA-1.0"),
    ("ume-hgo4.ttf", "fonts-horai-umefont", "UmeFont (free)"),
    ("ume-tgo5.ttf", "fonts-horai-umefont", "UmeFont (free)"),
    ("ume-tmo3.ttf", "fonts-horai-umefont", "UmeFont (free)"),
    ("ume-ugo4.ttf", "fonts-horai-umefont", "UmeFont (free)"),
)


def find(file: str, package: str) -> Path:
    """Raises FileNotFoundError where the package is not installed."""
    done = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if Path(line).name == file:
            return Path(line)
    raise FileNotFoundError(f"{file}: install the package {package}")


def render(path: Path) -> NDArray[np.uint8]:
    """All glyphs of one face, [len(GLYPHS), BOX, BOX], white on black.

    Raises:
        ValueError: the face lacks a glyph.
    """
    font, boxes = ImageFont.truetype(path, 100), []
    missing = bytes(font.getmask("\U000f1234"))
    for glyph in GLYPHS:
        mask = font.getmask(glyph)
        box = mask.getbbox()
        if box is None or bytes(mask) == missing:
            raise ValueError(f"{path.name} has no {glyph}")
        boxes.append(max(box[2] - box[0], box[3] - box[1]))
    font = ImageFont.truetype(path, 100 * EXTENT / float(np.median(boxes)))
    return np.stack([_draw(font, glyph) for glyph in GLYPHS])


def _draw(font: ImageFont.FreeTypeFont, glyph: str) -> NDArray[np.uint8]:
    """Centred on its ink, drawn at four times the size."""
    big = font.font_variant(size=font.size * 4)
    left, top, right, bottom = big.getbbox(glyph)
    image = Image.new("L", (4 * BOX, 4 * BOX))
    corner = (2 * BOX - (left + right) / 2, 2 * BOX - (top + bottom) / 2)
    ImageDraw.Draw(image).text(corner, glyph, fill=255, font=big)
    small = np.asarray(image.resize((BOX, BOX), Image.Resampling.BOX))
    return (small // 17 * 17).astype(np.uint8)  # 16 greys compress well, and a warp blurs them


def main() -> None:
    atlas = np.stack([render(find(file, package)) for file, package, _ in FACES])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, atlas=atlas)
    (HERE / "kana_atlas.npz").write_bytes(buffer.getvalue())
    rows = [f"| {Path(file).stem} | {package} | {licence} |" for file, package, licence in FACES]
    head = [
        "# Faces of the kana atlas",
        "",
        "`kana_atlas.npz` holds pictures of 49 hiragana and ten digits, drawn by",
        "`render_kana.py` in these typefaces from Debian's packages; it holds no font program.",
        "",
        "| face | package | licence |",
        "|---|---|---|",
    ]
    (HERE / "KANA.md").write_text("\n".join([*head, *rows]) + "\n")


if __name__ == "__main__":
    main()
