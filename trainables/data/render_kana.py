"""Renders the kana atlas from open typefaces: `python -m trainables.data.render_kana`.

This is needed only to make `kana_atlas.npz` anew. The faces come from Debian packages, which FACES
names. A glyph is drawn in a box of 48x48 pixels. All glyphs of a face have the same scale, so small
characters stay small.
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trainables.data.base import HIRAGANA

GLYPHS = (*HIRAGANA, *"0123456789")
BOX = 48  # pixels
EXTENT = 36  # pixels: the larger side of the median glyph of a face
HERE = Path(__file__).parent


class Face(NamedTuple):
    """A font file of a Debian package (bookworm).

    The other fields are what the package's /usr/share/doc/PACKAGE/copyright says.
    """

    file: str
    package: str
    family: str
    licence: str
    author: str


# fmt: off
FACES = [Face(*row.split(" | ")) for row in """
aoyagi-soseki.ttf | fonts-aoyagi-soseki | Aoyagi Soseki | public domain | Kouzan and Soseki Aoyagi
kouzan-mouhitsu.ttf | fonts-kouzan-mouhitsu | Kouzan Mouhitsu | public domain | Kouzan Aoyagi
kouzan-mouhitsu-gyosho.ttf | fonts-kouzan-mouhitsu | Kouzan Mouhitsu | public domain | Kouzan Aoyagi
kiloji.ttf | fonts-kiloji | Kiloji | BSD-3-Clause | きろのの
kiloji_b.ttf | fonts-kiloji | Kiloji | BSD-3-Clause | きろのの
setofont.ttf | fonts-seto | SetoFont | OFL-1.1 | Nozomi Seto
YOzRA_.ttf | fonts-yozvox-yozfont-antique | YOzFont | OFL-1.1 | Y.Oz
YOzBAF90i.ttf | fonts-yozvox-yozfont-antique | YOzFont | OFL-1.1 | Y.Oz
YOzRC_.ttf | fonts-yozvox-yozfont-cute | YOzFont | OFL-1.1 | Y.Oz
YOzBC_i.ttf | fonts-yozvox-yozfont-cute | YOzFont | OFL-1.1 | Y.Oz
YOzRE_.ttf | fonts-yozvox-yozfont-edu | YOzFont | OFL-1.1 | Y.Oz
YOzRS_.ttf | fonts-yozvox-yozfont-standard-kana | YOzFont | OFL-1.1 | Y.Oz
YOzBS_i.ttf | fonts-yozvox-yozfont-standard-kana | YOzFont | OFL-1.1 | Y.Oz
KleeOne-Regular.ttf | fonts-klee | Klee One | OFL-1.1 | Klee Project Authors
KleeOne-SemiBold.ttf | fonts-klee | Klee One | OFL-1.1 | Klee Project Authors
YuseiMagic-Regular.ttf | fonts-yusei-magic | Yusei Magic | OFL-1.1 | Yusei Magic Project Authors
ReggaeOne-Regular.ttf | fonts-reggae | Reggae One | OFL-1.1 | Reggae Project Authors
DotGothic16-Regular.ttf | fonts-dotgothic16 | DotGothic16 | OFL-1.1 | DotGothic16 Project Authors
ipaexg.ttf | fonts-ipaexfont-gothic | IPAex Gothic | IPA-1.0 | CITPC
ipaexm.ttf | fonts-ipaexfont-mincho | IPAex Mincho | IPA-1.0 | CITPC
sawarabi-gothic-medium.ttf | fonts-sawarabi-gothic | Sawarabi Gothic | CC-BY-3.0 | mshio
sawarabi-mincho-medium.ttf | fonts-sawarabi-mincho | Sawarabi Mincho | OFL-1.1 | mshio
BIZUDGothic-Regular.ttf | fonts-morisawa-bizud-gothic | BIZ UDGothic | OFL-1.1 | BIZ UD Authors
BIZUDGothic-Bold.ttf | fonts-morisawa-bizud-gothic | BIZ UDGothic | OFL-1.1 | BIZ UD Authors
BIZUDMincho-Regular.ttf | fonts-morisawa-bizud-mincho | BIZ UDMincho | OFL-1.1 | BIZ UD Authors
Mplus1-Regular.otf | fonts-mplus | M PLUS 1 | OFL-1.1 | M+ FONTS Project Authors
Mplus1-Black.otf | fonts-mplus | M PLUS 1 | OFL-1.1 | M+ FONTS Project Authors
Mplus1-Light.otf | fonts-mplus | M PLUS 1 | OFL-1.1 | M+ FONTS Project Authors
Mplus2-Medium.otf | fonts-mplus | M PLUS 2 | OFL-1.1 | M+ FONTS Project Authors
MTLc3m.ttf | fonts-motoya-l-cedar | Motoya L Cedar | Apache-2.0 | Motoya
HanaMinA.ttf | fonts-hanazono | Hanazono Mincho | Hanazono or OFL-1.1 | GlyphWiki Project
Konatu.ttf | fonts-konatu | Konatu | MIT | Mitiya Masuda
VL-Gothic-Regular.ttf | fonts-vlgothic | VL Gothic | M+ and BSD-3-Clause | Project Vine
migu-1c-regular.ttf | fonts-migmix | Migu | IPA-1.0 | Itou Hiroki, IPA, M+ FONTS Project
migmix-1m-bold.ttf | fonts-migmix | MigMix | IPA-1.0 | Itou Hiroki, IPA, M+ FONTS Project
monapo.ttf | fonts-monapo | Monapo | IPA-1.0 | Utumi Hirosi, IPA
OradanoGSRR.ttf | fonts-oradano-mincho-gsrr | Oradano Mincho | Oradano (free) | Akira Uchida
ume-tgo5.ttf | fonts-horai-umefont | Ume Gothic | UmeFont (free) | Wataru Horai
ume-ugo4.ttf | fonts-horai-umefont | Ume UI Gothic | UmeFont (free) | Wataru Horai
ume-tmo3.ttf | fonts-horai-umefont | Ume Mincho | UmeFont (free) | Wataru Horai
""".strip().splitlines()]
# fmt: on
ALIKE = 0.95  # correlation from which on two faces count as the same drawing


def find(file: str, package: str) -> Path:
    """The path of a font file of a Debian package.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    done = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if Path(line).name == file:
            return Path(line)
    raise FileNotFoundError(f"{file}: install the package {package}")


def render(path: Path) -> NDArray[np.uint8]:
    """Draw all glyphs of one face, [len(GLYPHS), BOX, BOX], white on black.

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
    """Draw one glyph [BOX, BOX], centred on its ink.

    It is drawn at four times the size and scaled down.
    """
    big = font.font_variant(size=font.size * 4)
    left, top, right, bottom = big.getbbox(glyph)
    image = Image.new("L", (4 * BOX, 4 * BOX))
    corner = (2 * BOX - (left + right) / 2, 2 * BOX - (top + bottom) / 2)
    ImageDraw.Draw(image).text(corner, glyph, fill=255, font=big)
    small = np.asarray(image.resize((BOX, BOX), Image.Resampling.BOX))
    return (small // 17 * 17).astype(np.uint8)  # 16 greys compress well, a warp blurs them


def check_distinct(atlas: NDArray[np.uint8]) -> None:
    """Check that no two faces of an atlas [faces, glyphs, BOX, BOX] are alike.

    Many packages hold the same drawings of a family under several names.

    Raises:
        ValueError: the pictures of two faces correlate with ALIKE or more.
    """
    alike = np.corrcoef(atlas.reshape(len(atlas), -1)) - np.eye(len(atlas))
    one, other = np.unravel_index(alike.argmax(), alike.shape)
    if alike.max() >= ALIKE:
        raise ValueError(f"{FACES[one].file} and {FACES[other].file} are alike")


def main() -> None:
    atlas = np.stack([render(find(face.file, face.package)) for face in FACES])
    check_distinct(atlas)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, atlas=atlas)
    (HERE / "kana_atlas.npz").write_bytes(buffer.getvalue())
    families = len({face.family for face in FACES})
    rows = [
        f"| {Path(face.file).stem} | {face.family} | {face.package} | {face.licence} "
        f"| {face.author} |"
        for face in FACES
    ]
    head = [
        "# Faces of the kana atlas",
        "",
        f"`kana_atlas.npz` holds pictures of 49 hiragana and ten digits in {len(FACES)} typefaces",
        f"of {families} families, drawn from Debian's packages by `render_kana.py`; it holds no",
        "font program. Weights and slants of a family count as faces where they differ to the eye:",
        f"no two faces' pictures correlate above {ALIKE}.",
        "",
        "| face | family | package | licence | by |",
        "|---|---|---|---|---|",
    ]
    (HERE / "KANA.md").write_text("\n".join([*head, *rows]) + "\n")


if __name__ == "__main__":
    main()
