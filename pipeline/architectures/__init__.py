"""Searches over architectures: spaces, the table of NAS-Bench-201, algorithms with or without a predictor, and scores of
networks.

Importing this package imports none of it: whether a command has finished is found out without torch.
"""
