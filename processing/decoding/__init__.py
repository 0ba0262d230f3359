"""From a pretrained encoder to what it can tell about a recording."""

from .embed import embed_recording, weights_sha256, write_embeddings

__all__ = ["embed_recording", "weights_sha256", "write_embeddings"]
