"""The ``ait`` command: a module for each group of commands, each a thin layer over functions for Python users.

A command imports the package that it needs when it runs, so that ``ait key`` and ``ait serve`` load no torch.
"""
