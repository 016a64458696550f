"""Language models in GGUF files: what one holds, what it costs, and random ones to measure."""
