"""Everything between a recording and a pretrained encoder: signals, corpora, parts of the training loop."""
