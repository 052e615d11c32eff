"""Names of the files in a checkpoint folder."""

from typing import Final

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
EXEMPLARS: Final = "exemplars.safetensors"
CORRECTIONS: Final = "corrections.safetensors"
SERVING: Final = "serving.json"
MANIFEST: Final = "graph.json"  # of a prepared model, which has a graph and may have no weights

# A configuration of 20,000 named classes takes about one MB.
MOST_CONFIG_BYTES: Final = 16_000_000
MOST_MANIFEST_BYTES: Final = 1_000_000
