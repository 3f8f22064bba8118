"""Fine-tuning the ENN through unrolled instructed training. This goes beyond the paper.

RL learns V from scores alone, one number per period. But a target's training is itself differentiable: the *costate*
``a_t = ∂ log(loss at the end) / ∂θ_t`` of a run tells, for every weight at every step, how a push now changes the loss at the
end of the next ``unroll.steps`` steps. It runs backwards through gradient descent,

    a_t = a_{t+1} − η · H_t · a_{t+1},                    H_t the Hessian of step t's batch loss,

and likewise through momentum and Adam (:mod:`rl.descent`). This is Pontryagin's adjoint; in RL value-gradient learning,
Fairbank & Alonso 2012. The ENN φ is trained so that its instructions ``λ ∂V/∂θ`` lower the loss at the end of the segment: by
the gradient of ``Σ_t a_{t+1} · η λ_φ ∂V_φ/∂θ_t`` with respect to φ, beside the squared error of V as a prediction of that
score. Without the Hessians (greedily) nothing was learned that lasts.

Choices. The Hessian-vector products are exact (:meth:`pipeline.targets.Population.tangent`): a difference of two gradients
crosses ReLU's kinks, and costates made of such products explode where exact ones stay small. The instruction's own dependence
on θ is left out of the costate. λ is chosen by a head of the ENN, trained in the same way, from weights and progress. Reward:
each member trains without one fold of the training data and is scored on that fold, so that the ENN is paid for what holds on
data its target has not seen, and there are as many such data as training data. With 4,000 validation examples instead, the ENN
learned those examples (the score on them rose by 2.6 points, on others by none).
"""

from rl.unrolled.costates import log_loss_costate, shorten
from rl.unrolled.folds import Folds, Life
from rl.unrolled.training import KEEP, fine_tune
from rl.unrolled.tuning import FineTuning, Trajectory

__all__ = ["KEEP", "FineTuning", "Folds", "Life", "Trajectory", "fine_tune", "log_loss_costate", "shorten"]
