"""Relational questions about images of Sort-of-CLEVR, with the question as a token."""
