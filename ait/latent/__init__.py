"""Transformers whose latent tokens read patches by priors: a memory that decides what is computed on."""

from ait.latent.recall_merge import RecallMerge
from ait.latent.transformer import Workspace, WorkspaceTransformer
from ait.latent.variants import default_cfgs

__all__ = ["RecallMerge", "Workspace", "WorkspaceTransformer", "default_cfgs"]
