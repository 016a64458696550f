# A model of random weights, small enough for a virtual machine's CPU: what it says is nonsense.
pkgs:
pkgs.runCommand "tiny.gguf"
  {
    nativeBuildInputs = [ (pkgs.python3.withPackages (_: [ pkgs.orin-nn ])) ];
  }
  ''
    python3 - <<'END'
    import os
    from pathlib import Path

    from orin_nn.gguf.random_model import write_random
    from orin_nn.gguf.shapes import TINY_QWEN3

    write_random(Path(os.environ["out"]), TINY_QWEN3, "F16")
    END
  ''
