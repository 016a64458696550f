"""What models in tinygrad share: matrix products, quantized weights, transformers."""

import os

# tinygrad joins four halves into one load, and eight only if asked before its first kernel of them.
os.environ.setdefault("ALLOW_HALF8", "1")
