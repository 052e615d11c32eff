"""AiT models that have the shape of timm's ViTs, so that they start from a ViT's weights and answer as it does."""
