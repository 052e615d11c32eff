"""Names of the files in a checkpoint folder, and of those of a run that tell it apart."""

from typing import Final

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
EXEMPLARS: Final = "exemplars.safetensors"
CORRECTIONS: Final = "corrections.safetensors"
SERVING: Final = "serving.json"
HEAD: Final = "head.safetensors"  # priors of an associative head, where there are no weights
MANIFEST: Final = "graph.json"  # of a prepared model, which has a graph and may have no weights

# A run's folder holds its recipe, and its best model as a checkpoint folder.
RECIPE: Final = "recipe.yaml"
BEST: Final = "best"

# A configuration of 20,000 named classes takes about one MB.
MOST_CONFIG_BYTES: Final = 16_000_000
MOST_MANIFEST_BYTES: Final = 1_000_000
