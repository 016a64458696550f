"""Reading pictures."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from orin_core.cli import UserError

# Of Pillow's many, those that are pictures; EPS, say, would run a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def load_picture(path: Path) -> Image.Image:
    """The picture at `path` in RGB, 8 bits a channel, turned upright. UserError if it is none."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16"):  # Pillow's own conversion clips it at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.mode in ("I", "F"):
                raise UserError(f"{path}: values of no fixed range; save it with 8 or 16 bits")
            return upright.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: no such picture") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a picture; give a JPEG, PNG or WebP file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture: {error}") from None
