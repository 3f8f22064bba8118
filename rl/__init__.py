"""Off-policy deep RL of the ENN: RLlib as a thin adapter around ``pipeline/``."""
