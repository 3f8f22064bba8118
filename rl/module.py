"""The RLModule: critics around readers. The first one acts and instructs; the others learn from the same experience.

Q, V and the ladder live in :class:`pipeline.enn.Critic`; this only gives RLlib's DQN the methods that it asks for.
"""

from typing import Any, cast

import torch
from ray.rllib.algorithms.dqn.dqn_learner import QF_NEXT_PREDS, QF_PREDS, QF_TARGET_NEXT_PREDS
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, QNetAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from pipeline.config import from_dotted
from pipeline.enn import Critic, Home
from pipeline.targets import MLP, unflatten
from rl.critics import fresh_critics
from rl.roles import levels_of

OBSERVERS = "observers"
"""key of the forward pass's Q values of the critics that only learn"""


class CriticModule(TorchRLModule, TargetNetworkAPI, QNetAPI, InferenceOnlyAPI):
    """Critics over the observation (B, N + 1): a member's parameters, flat, and its progress."""

    def setup(self) -> None:
        settings = self.model_config
        config = from_dotted(settings["config"])
        self.home = Home(**settings["home"] | {"target": MLP(**settings["home"]["target"])})
        own = fresh_critics(config.enn.readers, config.enn, self.home, settings["seed"], settings["probes"])
        self.critics = nn.ModuleDict(own)
        self.epsilon: float = config.rl.epsilon

    @property
    def critic(self) -> Critic:
        """The critic that instructs."""
        return cast(Critic, next(iter(self.critics.values())))

    def read(self, observation: Tensor) -> tuple[list[Tensor], Tensor]:
        """Parameters, each (B, …), and progress (B,)."""
        return unflatten(observation[:, :-1], self.home.target.shapes), observation[:, -1]

    # -- acting ------------------------------------------------------------------------------------------------------

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTIONS: self.compute_q_values(batch)[QF_PREDS].argmax(dim=-1)}

    def _forward_exploration(self, batch: dict[str, Any], t: int = 0, **kwargs: Any) -> dict[str, Any]:
        """Some members keep one λ for the whole run (:mod:`rl.roles`); the others are ε-greedy."""
        q = self.compute_q_values(batch)[QF_PREDS]
        members, levels = q.shape
        member = torch.arange(members, device=q.device)
        random = torch.randint(levels, (members,)).to(q.device)
        explores = (torch.rand(members) < self.epsilon).to(q.device)
        own = torch.where(explores, random, q.argmax(dim=-1))
        return {Columns.ACTIONS: levels_of(member, levels, own)}

    # -- learning ----------------------------------------------------------------------------------------------------

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        both = self.read(torch.cat([batch[Columns.OBS], batch[Columns.NEXT_OBS]]))
        following = self.read(batch[Columns.NEXT_OBS])
        outputs = []
        for critic, target_critic in zip(self.critics.values(), self._targets.values(), strict=True):
            now, then = cast(Critic, critic).q_values(*both).chunk(2)
            with torch.no_grad():
                target = cast(Critic, target_critic).q_values(*following)
            outputs.append({QF_PREDS: now, QF_NEXT_PREDS: then, QF_TARGET_NEXT_PREDS: target})
        return outputs[0] | {OBSERVERS: outputs[1:]}

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Q(θ, t, ·) of the instructing critic, (B, A)."""
        return {QF_PREDS: self.critic.q_values(*self.read(batch[Columns.OBS]))}

    def compute_advantage_distribution(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Never called: there is one atom (the critic predicts a mean)."""
        raise RuntimeError("the ENN learns expected returns; set num_atoms=1")

    def make_target_networks(self) -> None:
        self._targets = cast(nn.ModuleDict, make_target_network(self.critics))

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.critics, self._targets)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        critic = cast(Critic, next(iter(self._targets.values())))
        return {QF_PREDS: critic.q_values(*self.read(batch[Columns.OBS]))}

    def get_non_inference_attributes(self) -> list[str]:
        return ["_targets"]


class CriticLearner(DQNTorchLearner):
    """DQN's loss for the instructing critic; the same loss, summed, for the observers."""

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]) -> Tensor:
        loss: Any = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        for output in fwd_out[OBSERVERS]:
            loss = loss + double_q_loss(output, batch, config.gamma)
        return loss


def double_q_loss(output: dict[str, Tensor], batch: dict[str, Tensor], gamma: float) -> Tensor:
    """Mean squared n-step double-Q error (van Hasselt et al., 2016, eq. 4), as in RLlib's learner with ``mse``."""
    actions = batch[Columns.ACTIONS].long()[:, None]
    chosen = output[QF_PREDS].gather(-1, actions)[:, 0]
    best = output[QF_NEXT_PREDS].argmax(dim=-1, keepdim=True)
    following = output[QF_TARGET_NEXT_PREDS].gather(-1, best)[:, 0] * (1.0 - batch[Columns.TERMINATEDS].float())
    wanted = (batch[Columns.REWARDS] + gamma ** batch["n_step"] * following).detach()
    return ((chosen - wanted) ** 2).mean()
