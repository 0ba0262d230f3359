"""From a pretrained encoder to what it can tell about a recording."""

from .embed import embed_recording, weights_sha256
from .parquet import embed_to_parquet, parts_folder

__all__ = ["embed_recording", "embed_to_parquet", "parts_folder", "weights_sha256"]
