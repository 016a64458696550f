"""Reading pictures."""

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from orin_core.cli import UserError


def load_picture(path: Path) -> Image.Image:
    """The picture at `path` in RGB, turned upright. Raises UserError if it is none."""
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: no such picture") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a picture; give a JPEG, PNG or WebP file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a picture: {error}") from None
