"""AiT against ViT on several sets: as many parameters, the same heads and training, and what a memory does."""
