"""The tables of the Associative Transformer's paper (arXiv 2309.12862), ours beside theirs."""
