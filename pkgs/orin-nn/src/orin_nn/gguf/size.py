"""What a model costs: the bytes that a token reads, and the memory it needs."""

from orin_nn.gguf.model import Model

# Keys and values are kept in float16; activations, scores and logits are computed in float32.
_CACHED, _COMPUTED = 2, 4


def cache_bytes(model: Model, positions: int) -> int:
    """Bytes of the keys and values of so many positions, in float16."""
    shape = model.shape
    return positions * shape.blocks * 2 * shape.kv_heads * shape.head_dim * _CACHED


def bytes_per_token(model: Model, context: int) -> int:
    """Bytes that pass to and from memory when one token is decoded after `context` others.

    Every matrix and norm is read once as it is stored; an embedding that is not the output matrix
    as well is read in one row. Keys and values of all positions are read, those of the new one
    written. Activations stay in the caches and do not count, nor do the rotary factors, which are
    applied when the model is loaded.
    """
    total = cache_bytes(model, context) + cache_bytes(model, 1)
    for name, tensor in model.tensors.items():
        if name == "token_embd.weight" and not model.shape.tied:
            total += tensor.row_bytes
        elif name != "rope_freqs.weight":
            total += tensor.nbytes
    return total


def memory_needed(model: Model, context: int, batch: int = 1) -> int:
    """About how many bytes the model takes on a device, with a cache of `context` positions, when
    `batch` positions are computed in one step: 1 to decode, a prompt's length to read it at once.

    Weights and cache are exact. Of the activations the largest moment counts, float32 and in the
    feed-forward part or in attention, whose scores are written out: two copies of them, and beside
    either the residual stream, its norm and the part's result. The logits are those of one
    position, and the rotary table has a cosine and a sine for every position.
    """
    shape = model.shape
    attention = 2 * shape.heads * (shape.head_dim + context)
    feed_forward = 3 * shape.hidden_dim
    activations = batch * (3 * shape.dim + max(attention, feed_forward))
    computed = activations + shape.vocab + context * shape.head_dim
    return model.nbytes + cache_bytes(model, context) + computed * _COMPUTED
