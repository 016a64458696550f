"""What models in tinygrad share: matrix products, quantized weights, transformers."""
