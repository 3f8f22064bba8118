"""The Evaluation Neural Network: a reader of weights with a bounded value head."""

from pipeline.enn.critic import Critic, Home
from pipeline.enn.files import load_critic, save_critic

__all__ = ["Critic", "Home", "load_critic", "save_critic"]
