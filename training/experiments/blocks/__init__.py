"""Memory in the blocks of a vision transformer: designs, and their trial beside transformers without one."""
