"""GGUF files of language models: which are useful, what memory they need, and how to get them."""

import os

# huggingface_hub reads it when it is imported: ask the Hub for nothing but models.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
