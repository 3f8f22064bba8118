"""Mutations: small mistakes, of the kind that would change numbers and say nothing, which the quick tests must notice.

    python tests/mutants.py                     # all of them; some minutes on two cores
    python tests/mutants.py --only unrolled     # those whose name, file or reason contains a text
    python tests/mutants.py --jobs 4            # so many at once (default: 2)

Each is made in a temporary copy of the tree, never in the tree itself, one at a time; then the tests that should notice run
there. A mutation is *killed* where one of them fails and has *survived* where none does. Before, the same tests must pass
without any mutation. Prints a table and the list of survivors; the exit code is 1 where there is any, 2 where a mutation cannot
be made or tests cannot be run.

To add one: an entry of ``MUTATIONS``, with text that occurs exactly once in its file.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("grad_instructor", "pipeline", "rl", "tests", "benchmarks", "docs", "tune_configs", "pyproject.toml")
LONGEST = 600.0
"""seconds after which tests of a mutation are ended, and it counts as killed"""
LEFT_OUT = ("cacheprovider", "hypothesispytest")
"""plugins of pytest that would write into the copies, or take a second to load"""
KILLED, SURVIVED, BROKEN = "killed", "survived", "broken"


@dataclass(frozen=True)
class Mutation:
    """One mistake."""

    name: str
    file: str
    old: str
    """text that occurs exactly once"""
    new: str
    why: str
    """what would be wrong, and unsaid"""
    tests: tuple[str, ...]
    """that should notice, as pytest names them"""


class Impossible(Exception):
    """A mutation that cannot be made, or tests that cannot be run."""


TARGETS = (
    Mutation(
        "the loss is summed over the batch",
        "pipeline/targets/backprop.py",
        ".mul_(1 / y.shape[-1])",
        ".mul_(1.0)",
        "every learning rate would be 32 or 100 times what it says",
        ("tests/test_targets.py::test_gradients_losses_and_logits_agree_with_autograd",),
    ),
    Mutation(
        "a shared batch makes no bias",
        "pipeline/targets/forward.py",
        "torch.addmm(bias.reshape(-1, 1), weight",
        "torch.addmm(0 * bias.reshape(-1, 1), weight",
        "the first layer's biases would learn and not count",
        ("tests/test_targets.py::test_a_population_equals_separate_modules",),
    ),
    Mutation(
        "the tangent forgets the curvature of σ",
        "pipeline/targets/tangent.py",
        "if activation.bend is not None:",
        "if False:",
        "Hessian products would be those of a piecewise linear network",
        ("tests/test_tangent.py::test_the_tangent_is_autograds",),
    ),
    Mutation(
        "the tangent forgets how the softmax moves",
        "pipeline/targets/tangent.py",
        "moved.addcmul_(delta, moved.sum(1, keepdim=True), value=-1)",
        "moved",
        "the costate would be that of another loss",
        ("tests/test_tangent.py::test_the_tangent_is_autograds",),
    ),
    Mutation(
        "Adam is biased towards 0",
        "pipeline/targets/optimisers/adaptive.py",
        "settings.learning_rate, 1 / (1 - first ** (step + 1)))",
        "settings.learning_rate, 1.0)",
        "its first steps would be a tenth as long",
        ("tests/test_targets.py::test_a_population_equals_separate_modules",),
    ),
    Mutation(
        "AdamW's decay does not follow the learning rate",
        "pipeline/targets/optimisers/adamw.py",
        "piece.parameters.mul_(1 - settings.learning_rate * settings.weight_decay)",
        "piece.parameters.mul_(1 - settings.weight_decay)",
        "weights would shrink a hundred times as fast",
        ("tests/test_targets.py::test_a_population_equals_separate_modules",),
    ),
    Mutation(
        "the cosine ends half way",
        "pipeline/targets/schedules/cosine.py",
        "0.5 * (1 + math.cos(math.pi * progress))",
        "0.5 * (1 + math.cos(math.pi * progress / 2))",
        "a tuned baseline would end with half of its learning rate",
        ("tests/test_targets.py::test_a_population_equals_separate_modules",),
    ),
    Mutation(
        "a replaced member keeps the momentum of the one before",
        "pipeline/targets/population.py",
        "                view[member] = 0.0\n        self.diverged_at[member] = -1",
        "                pass\n        self.diverged_at[member] = -1",
        "a fresh target would be carried on by a dead one",
        ("tests/test_targets.py::test_a_member_that_takes_anothers_place_has_no_state_of_it",),
    ),
    Mutation(
        "a diverged member's accuracy counts",
        "pipeline/targets/population.py",
        "(correct / len(x)).masked_fill(failed, 0.0)",
        "(correct / len(x))",
        "a ruined run would look like chance",
        ("tests/test_targets.py::test_a_huge_learning_rate_freezes_its_own_member_only",),
    ),
    Mutation(
        "a frozen member is moved",
        "pipeline/targets/population.py",
        "if not self._all_alive or self.device.type",
        "if False and self.device.type",
        "a decoupled instruction would go on with a ruined target",
        ("tests/test_instruction.py::test_a_frozen_member_is_not_moved",),
    ),
    Mutation(
        "all members see the data in one order",
        "pipeline/targets/batches.py",
        'numpy_stream(seed, "data order", epoch).permutation(length)[:used] for seed',
        'numpy_stream(self.seeds[0], "data order", epoch).permutation(length)[:used] for seed',
        "repetitions would be less independent than n says",
        ("tests/test_targets.py::test_epochs_are_permutations_and_steps_can_be_asked_for_in_any_order",),
    ),
    Mutation(
        "every epoch has the same order",
        "pipeline/targets/batches.py",
        'numpy_stream(seed, "data order", epoch)',
        'numpy_stream(seed, "data order", 0)',
        "training would cycle",
        ("tests/test_targets.py::test_epochs_are_permutations_and_steps_can_be_asked_for_in_any_order",),
    ),
    Mutation(
        "He's initialisation by fan out",
        "pipeline/targets/initialise/he.py",
        "return math.sqrt(2 / slot.fan_in) *",
        "return math.sqrt(2 / slot.fan_out) *",
        "the strongest baseline would be weaker",
        ("tests/test_targets.py::test_initial_variances",),
    ),
)

LEARNING = (
    Mutation(
        "feedback is not used",
        "pipeline/targets/context.py",
        "self.weight if weights is None else weights",
        "self.weight",
        "feedback alignment would be backpropagation",
        ("tests/test_learning.py::test_random_feedback_is_no_gradient",),
    ),
    Mutation(
        "a written rule forgets the slope",
        "pipeline/learning/backprop.py",
        "return context.through(above.pull(above.signal, out=context.room), context.room)",
        "return above.pull(above.signal, out=context.room)",
        "the example of a rule would be a wrong one",
        ("tests/test_learning.py::test_backpropagation_through_the_contract_is_the_fused_path_to_the_bit",),
    ),
    Mutation(
        "every rule runs upward",
        "pipeline/learning/signal.py",
        'contexts if self.rule.order == "up" else reversed(contexts)',
        "contexts",
        "rules would read signals that are not there yet",
        ("tests/test_learning.py::test_layers_are_asked_in_order_and_a_rule_learns_once_all_are",),
    ),
    Mutation(
        "rules do not learn",
        "pipeline/learning/signal.py",
        "self.rule.learn(contexts, self.state)",
        "pass",
        "inverses and synthesisers would stay as they were drawn",
        ("tests/test_learning.py::test_layers_are_asked_in_order_and_a_rule_learns_once_all_are",),
    ),
    Mutation(
        "a guard takes any signal for a gradient",
        "pipeline/learning/signal.py",
        'if rule is not None and not getattr(rule, "exact", False):',
        "if False:",
        "its agreement would be with what is no gradient",
        ("tests/test_learning.py::test_a_guard_refuses_a_signal_that_is_no_gradient",),
    ),
    Mutation(
        "terms move before they add",
        "pipeline/instruction/update.py",
        "        term.add(population, gradients, state)\n    for term, state in terms:\n",
        "        term.add(population, gradients, state)\n",
        "the order in which terms are named would change what they do",
        ("tests/test_learning.py::test_terms_add_before_any_of_them_moves_the_weights",),
    ),
    Mutation(
        "a module's layer pulls with its own weights whatever the rule says",
        "pipeline/learning/modules/contexts.py",
        "(self.weight if weights is None else weights)[0], delta, self.received)",
        "self.weight[0], delta, self.received)",
        "every rule with feedback of its own would be backpropagation on a module",
        ("tests/test_modules.py::test_what_should_be_backpropagation_is",),
    ),
    Mutation(
        "what a hook makes of a layer's outputs stands between the layer and its rule",
        "pipeline/learning/modules/replaced.py",
        "register_forward_hook(self.leave, prepend=True)",
        "register_forward_hook(self.leave)",
        "even backpropagation as a rule would be wrong by what an earlier hook does",
        ("tests/test_modules.py::test_hooks_of_others_come_before_a_rule_and_after_it",),
    ),
    Mutation(
        "parts of an example count as examples where the error of the output is sent",
        "pipeline/learning/modules/layers.py",
        "if examples == own.error.shape[-1]:",
        "if True:",
        "what cannot be served would end in an error of shapes",
        ("tests/test_modules.py::test_what_cannot_be_served_is_refused_at_the_first_step",),
    ),
    Mutation(
        "a module's positions count from the inputs of the first layer",
        "pipeline/learning/modules/positions.py",
        "        index = call.index - (not self.own)\n",
        "        index = call.index - self.own\n",
        "mode bits would belong to the position before",
        (
            "tests/test_modules.py::test_a_module_learns_as_the_populations_member_linear_or_of_one_pixel",
            "tests/test_modules.py::test_a_learned_derivative_is_f_of_h_at_its_position",
        ),
    ),
    Mutation(
        "a rule's hooks stay while an ENN looks at a module",
        "pipeline/instruction/unseen.py",
        "(fire or _of_torch(hook)) and not of_a_rule(hook)",
        "fire or _of_torch(hook)",
        "the ENN's own gradient would go back through random feedback",
        ("tests/test_modules.py::test_an_instruction_over_a_rule_is_that_over_backpropagation",),
    ),
    Mutation(
        "a convolution pulls through padding of another kind as if it were zeros",
        "pipeline/learning/modules/maps.py",
        'return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)',
        "return not isinstance(layer.padding, str)",
        "what goes back at the borders would be wrong",
        ("tests/test_modules.py::test_a_convolution_pulls_with_other_weights_as_a_slow_loop_does",),
    ),
)

ENN = (
    Mutation(
        "the weight image lies on its side",
        "pipeline/enn/weight_image.py",
        "return math.ceil(resolution * height), math.ceil(resolution * width)",
        "return math.ceil(resolution * width), math.ceil(resolution * height)",
        "rows and columns would be read at each other's resolution",
        ("tests/test_enn.py::test_canvas_is_the_largest_layer_made_smaller",),
    ),
    Mutation(
        "weights are measured by fan out",
        "pipeline/enn/weight_image.py",
        "dim=-1) * math.sqrt(weight.shape[-1] / 2)",
        "dim=-1) * math.sqrt(weight.shape[-2] / 2)",
        "layers of unlike widths would not be in one unit",
        ("tests/test_enn.py::test_weight_image_equals_a_slow_reference",),
    ),
    Mutation(
        "the probes are frozen",
        "pipeline/enn/readers/probes.py",
        "nn.Parameter(torch.rand(config.probes, inputs))",
        "nn.Parameter(torch.rand(config.probes, inputs), requires_grad=False)",
        "what is called learned would stay where it was drawn",
        ("tests/test_enn.py::test_every_weight_of_an_enn_learns_from_q",),
    ),
    Mutation(
        "the statistics take another variance",
        "pipeline/enn/readers/statistics.py",
        "correction=0) + 1e-6",
        "correction=1) + 1e-6",
        "the baseline reader would not be what is written",
        ("tests/test_enn.py::test_statistics_are_numpys",),
    ),
    Mutation(
        "V is the mean of Q again",
        "pipeline/enn/critic.py",
        "advantages - advantages.amax(dim=-1, keepdim=True)",
        "advantages - advantages.mean(dim=-1, keepdim=True)",
        "V would be the value of no policy",
        ("tests/test_enn.py::test_the_value_is_that_of_the_greedy_policy",),
    ),
    Mutation(
        "the worst level of λ is chosen",
        "pipeline/enn/critic.py",
        "ladder[self._q(hidden).argmax(dim=-1)]",
        "ladder[self._q(hidden).argmin(dim=-1)]",
        "instruction would be as strong as it can harm",
        ("tests/test_enn.py::test_strengths_are_the_best_level_or_the_fixed_one",),
    ),
    Mutation(
        "a fixed λ of 0 is left to the ENN",
        "pipeline/enn/critic.py",
        "if self.home.strength >= 0:",
        "if self.home.strength > 0:",
        "who switches instruction off would be instructed",
        ("tests/test_enn.py::test_strengths_are_the_best_level_or_the_fixed_one",),
    ),
    Mutation(
        "damaged weights are loaded",
        "pipeline/enn/files.py",
        'if _checksum(weights, description) != description.get("sha256"):',
        "if False:",
        "one flipped bit would instruct",
        ("tests/test_enn.py::test_any_damage_is_noticed_or_harmless",),
    ),
)

INSTRUCTION = (
    Mutation(
        "the instruction is added to the gradient",
        "pipeline/instruction/terms/instruct.py",
        "gradient.sub_(instruction)",
        "gradient.add_(instruction)",
        "targets would descend the ENN's value",
        ("tests/test_instruction.py::test_instruct_equals_autograd_on_separate_modules",),
    ),
    Mutation(
        "no trust region",
        "pipeline/instruction/reading.py",
        "return within(strength, learning_rate * norm(gradient), trust_radius(parameter, trust_region))",
        "return strength",
        "an ENN would be followed far from what it has seen",
        ("tests/test_instruction.py::test_instruct_equals_autograd_on_separate_modules",),
    ),
    Mutation(
        "one trust region for the whole population",
        "pipeline/instruction/trust_region.py",
        "return trust_region * norm(parameter)",
        "return trust_region * parameter.norm().expand(len(parameter))",
        "a target's instruction would depend on its neighbours",
        ("tests/test_instruction.py::test_instruct_equals_autograd_on_separate_modules",),
    ),
    Mutation(
        "a decoupled instruction goes through the optimiser",
        "pipeline/instruction/terms/instruct.py",
        "        if not self.critic.home.decoupled:\n            for",
        "        if True:\n            for",
        "momentum would repeat it",
        ("tests/test_instruction.py::test_a_decoupled_instruction_passes_the_optimiser_by",),
    ),
    Mutation(
        "a decoupled instruction does not follow the schedule",
        "pipeline/instruction/reading.py",
        "return learning_rate * SCHEDULES[critic.home.schedule](min(1.0, progress))",
        "return learning_rate",
        "weights would be pushed when they should settle",
        ("tests/test_instruction.py::test_a_decoupled_instruction_shrinks_with_the_schedule_of_home",),
    ),
    Mutation(
        "instruction is not renewed at a period's start",
        "pipeline/instruction/terms/instruct.py",
        "if population.step % self.critic.home.period % self.critic.home.refresh != 0",
        "if population.step % self.critic.home.refresh != 0",
        "a new λ would be played with an old reading",
        ("tests/test_instruction.py::test_instruct_equals_autograd_on_separate_modules",),
    ),
    Mutation(
        "progress stands still",
        "pipeline/instruction/terms/instruct.py",
        "(population.members,), min(1.0, population.step / self.steps), dtype",
        "(population.members,), 0.0, dtype",
        "the ENN would take every target for a fresh one",
        ("tests/test_instruction.py::test_instruct_equals_autograd_on_separate_modules",),
    ),
    Mutation(
        "frozen parameters get a gradient",
        "pipeline/instruction/held.py",
        "if own.requires_grad and (not known or",
        "if (not known or",
        "a layer that its owner froze would be trained",
        ("tests/test_instruction.py::test_parameters_that_their_owner_froze_are_left_alone",),
    ),
    Mutation(
        "a chain is believed to be one by its list of layers",
        "pipeline/instruction/modules.py",
        "why = chain.departs()",
        'why = ""',
        "a network with a layer used twice, or another activation, would be misread in silence",
        ("tests/test_own_loop.py::test_what_is_computed_is_what_is_instructed",),
    ),
    Mutation(
        "attributes of a module stay as the reading left them",
        "pipeline/instruction/unseen.py",
        "            own.restore()",
        "            pass",
        "one reading would un-freeze every frozen layer",
        ("tests/test_own_loop.py::test_no_trace_where_the_forward_pass_fails_half_way",),
    ),
    Mutation(
        "trust is not kept",
        "pipeline/instruction/own_guard.py",
        'self.known, self.trusted = state.get("known"), bool(state.get("trusted"))',
        'self.known, self.trusted = None, bool(state.get("trusted"))',
        "a loop that was stopped would go on otherwise",
        ("tests/test_own_loop.py::test_a_loop_that_was_stopped_at_any_step_goes_on_to_the_same_bits",),
    ),
    Mutation(
        "an ENN is followed far from its home",
        "pipeline/instruction/own_guard.py",
        "self.known = FIRST if self.readings == 1 else 0.0",
        "self.known = 1.0",
        "convolutional networks would lose points",
        ("tests/test_own_loop.py::test_far_from_home_one_is_warned_once_and_the_enn_is_not_followed",),
    ),
    Mutation(
        "validation data cannot lower the trust",
        "pipeline/instruction/own_guard.py",
        "return min(self.trust, self.shown)",
        "return self.trust",
        "an ENN that validation data contradict would be followed",
        ("tests/test_validation_guard.py::test_an_enn_that_validation_data_contradict_leaves_the_loop_as_it_is_to_the_bit",),
    ),
    Mutation(
        "the loss without the pushes is taken on the wrong side",
        "pipeline/instruction/validation.py",
        "tensors[name].detach() - own.to(tensors[name])",
        "tensors[name].detach() + own.to(tensors[name])",
        "pushes that help would be shortened, and those that hurt would not",
        ("tests/test_validation_guard.py::test_pushes_are_made_shorter_where_the_loss_rises_and_would_not_without_them",),
    ),
    Mutation(
        "what moved the weights is forgotten with a stopped loop",
        "pipeline/instruction/validation.py",
        '"moved": self.moved, "loss"',
        '"moved": 0.0, "loss"',
        "a loop that was stopped would go on otherwise",
        ("tests/test_validation_guard.py::test_a_loop_with_validation_data_goes_on_to_the_same_bits",),
    ),
    Mutation(
        "an instruction of other shapes is kept",
        "pipeline/instruction/held.py",
        "shapes.get(name) != _shape(push)",
        "name not in shapes",
        "a model that grew would end in a traceback, half instructed",
        ("tests/test_own_loop_unusual.py::test_a_model_that_grows_between_two_readings_is_read_anew",),
    ),
    Mutation(
        "a module is read with its dropout",
        "pipeline/instruction/unseen.py",
        'module.__dict__["training"] = False',
        "pass",
        "V would be noise, and running statistics would move",
        ("tests/test_own_loop.py::test_any_module_is_instructed_by_what_it_computes",),
    ),
    Mutation(
        "the fast reading forgets the softmax's mean",
        "pipeline/enn/readers/probes.py",
        "return own - log_p.exp() * own.sum(-1, keepdim=True)",
        "return own",
        "one's own loop would be instructed otherwise than the benchmarks",
        ("tests/test_instruction.py::test_a_reading_of_low_rank_is_the_instruction",),
    ),
    Mutation(
        "the guard's trust never rises",
        "pipeline/instruction/guard.py",
        "WEAKEN, STRENGTHEN = 0.25, 2.0",
        "WEAKEN, STRENGTHEN = 0.25, 1.0",
        "one bad batch would switch an ENN off for good",
        ("tests/test_instruction.py::test_trust_that_was_lost_comes_back_where_the_instruction_leads_downhill_again",),
    ),
    Mutation(
        "the guard weakens what leads downhill",
        "pipeline/instruction/guard.py",
        "cosine = (dot(gradients, instruction) / lengths",
        "cosine = (-dot(gradients, instruction) / lengths",
        "it would guard the harm",
        ("tests/test_instruction.py::test_the_guard_ends_an_instruction_that_leads_uphill_and_leaves_one_that_leads_downhill",),
    ),
    Mutation(
        "the worse half of a trial is kept",
        "pipeline/instruction/loop.py",
        "won = scores > guard.score(population)",
        "won = scores < guard.score(population)",
        "every trial would cost what it should save",
        ("tests/test_instruction.py::test_a_member_goes_on_from_the_better_half_of_a_trial",),
    ),
    Mutation(
        "returns are a period late",
        "pipeline/instruction/loop.py",
        "(1 - gamma) * scores[point + 1] + gamma",
        "(1 - gamma) * scores[point] + gamma",
        "the ENN would be judged by what it can see",
        ("tests/test_instruction.py::test_returns_are_the_discounted_scores_from_here_on",),
    ),
    Mutation(
        "L1 pulls in proportion",
        "pipeline/instruction/terms/l1.py",
        "per_member(self.strength, parameter), parameter.sign())",
        "per_member(self.strength, parameter), parameter)",
        "the L1 row would be an L2 row",
        ("tests/test_instruction.py::test_l1_is_the_gradient_of_its_penalty",),
    ),
    Mutation(
        "a random push has no limit",
        "pipeline/instruction/terms/random_push.py",
        "if population.step < self.steps:",
        "if True:",
        "the control would be pushed to the end",
        ("tests/test_instruction.py::test_random_push_is_one_direction_as_long_as_the_trust_region_beside_any_optimiser",),
    ),
    Mutation(
        "growth is faster than it says",
        "pipeline/instruction/terms/growth.py",
        "missing.clamp(0, self.rate)",
        "missing.clamp(0, 2 * self.rate)",
        "the control would be another one than the table's",
        ("tests/test_instruction.py::test_growth_is_two_percent_a_step_up_to_he_whatever_the_optimiser",),
    ),
)

RL = (
    Mutation(
        "the learning rate of fine-tuning never falls",
        "rl/unrolled/tuning.py",
        " * (1 - number / unroll.segments)",
        "",
        "a shipped ENN would be what the last segments' noise left",
        ("tests/test_unrolled.py::test_the_learning_rate_of_fine_tuning_rises_and_falls_to_nothing",),
    ),
    Mutation(
        "the ENN's gradient is hardly ever shortened",
        "rl/unrolled/tuning.py",
        "LARGEST_GRADIENT = 1.0",
        "LARGEST_GRADIENT = 100.0",
        "one bad segment would be felt for hundreds",
        ("tests/test_unrolled.py::test_a_large_gradient_is_shortened_to_1_and_a_small_one_is_left",),
    ),
    Mutation(
        "a diverged member teaches a score",
        "rl/unrolled/tuning.py",
        "wrong = ((terms.value - score)[alive] ** 2).sum() / teachers",
        "wrong = ((terms.value - score) ** 2).sum() / teachers",
        "V would learn of runs that do not exist",
        ("tests/test_unrolled.py::test_a_member_that_diverged_does_not_teach",),
    ),
    Mutation(
        "diverged members count in the mean",
        "rl/unrolled/tuning.py",
        "alive.sum().clamp_min(1)",
        "torch.tensor(len(alive))",
        "the others would teach more quietly",
        ("tests/test_unrolled.py::test_a_member_that_diverged_does_not_teach",),
    ),
    Mutation(
        "targets are scored on what they train on",
        "rl/unrolled/folds.py",
        "np.flatnonzero(self.fold_of != fold) if",
        "np.flatnonzero(self.fold_of == fold) if",
        "the ENN would be paid for memorising",
        ("tests/test_unrolled.py::test_no_member_is_scored_on_what_it_trains_on",),
    ),
    Mutation(
        "the costate is led back with the wrong sign",
        "pipeline/targets/optimisers/form.py",
        "push = costate * per_member(-rate, costate)",
        "push = costate * per_member(rate, costate)",
        "the ENN would learn to raise the loss",
        ("tests/test_unrolled.py::test_the_enn_gets_the_gradient_of_unrolled_training",),
    ),
    Mutation(
        "the costate has no curvature",
        "pipeline/targets/optimisers/form.py",
        "costate.add_(curved).add_(push, alpha=self.coupled)",
        "costate.add_(push, alpha=self.coupled)",
        "the ENN would be greedy, and what it learns would not last",
        ("tests/test_unrolled.py::test_the_enn_gets_the_gradient_of_unrolled_training",),
    ),
    Mutation(
        "the costate forgets momentum",
        "pipeline/targets/optimisers/form.py",
        "kept = push * self.keep if self.keep else None",
        "kept = None",
        "a push would be worth a tenth of what it is",
        ("tests/test_unrolled.py::test_the_enn_gets_the_gradient_of_unrolled_training",),
    ),
    Mutation(
        "a fresh target takes over momentum",
        "rl/descent.py",
        "                tensor[member] = 0.0",
        "                pass",
        "fine-tuning would train on starts that no run has",
        ("tests/test_unrolled.py::test_a_replaced_target_starts_without_the_momentum_of_the_one_before",),
    ),
    Mutation(
        "n-step returns are one step",
        "rl/replay.py",
        "taken = np.minimum(n_step, decisions - start)",
        "taken = np.minimum(1, decisions - start)",
        "whole returns would be bootstrapped",
        ("tests/test_rl.py::test_replay_equals_a_slow_reference",),
    ),
    Mutation(
        "runs never end",
        "rl/replay.py",
        "Columns.TERMINATEDS: start + taken == decisions",
        "Columns.TERMINATEDS: start + taken > decisions",
        "the value of a finished run would be bootstrapped from itself",
        ("tests/test_rl.py::test_replay_equals_a_slow_reference",),
    ),
    Mutation(
        "the online network judges its own choice",
        "rl/module.py",
        "following = output[QF_TARGET_NEXT_PREDS].gather",
        "following = output[QF_NEXT_PREDS].gather",
        "double Q would be Q",
        ("tests/test_rl.py::test_the_observers_loss_is_rllibs",),
    ),
    Mutation(
        "the target network is never updated",
        "rl/algorithm.py",
        "tau=config.rl.tau,",
        "tau=0.0,",
        "Q would be bootstrapped from an untrained ENN",
        ("tests/test_rl.py::test_the_target_copies_follow_by_tau",),
    ),
    Mutation(
        "the last score counts no more than the others",
        "rl/env.py",
        "((1 - gamma) + gamma * self.finished)",
        "(1 - gamma)",
        "V would not be a score",
        ("tests/test_rl.py::test_a_constant_score_is_worth_itself",),
    ),
    Mutation(
        "every round trains the same targets",
        "rl/env.py",
        'stream(self.config.seed, "collect", self.round, self.worker, member)',
        'stream(self.config.seed, "collect", 0, self.worker, member)',
        "the ENN would know a dozen targets by heart",
        ("tests/test_rl.py::test_targets_are_named_by_seed_round_and_worker",),
    ),
    Mutation(
        "no member starts from He",
        "rl/roles.py",
        "return members % 4 >= 2",
        "return members % 4 >= 4",
        "the ENN would be asked about weights that it has never met",
        ("tests/test_rl.py::test_half_of_the_members_start_small_and_half_from_he",),
    ),
    Mutation(
        "the reward is measured on test data",
        "pipeline/setting.py",
        'return dataset.tensors("validation", device, limit=_rewarded(config, dataset))',
        'return dataset.tensors("test", device, limit=_rewarded(config, dataset))',
        "every reported number would be chosen on the test set",
        ("tests/test_rl.py::test_rewards_are_the_scores_on_the_rewards_share_of_validation",),
    ),
)

COMPARISON = (
    Mutation(
        "strengths are chosen on rewarded examples",
        "pipeline/setting.py",
        "chosen = slice(_rewarded(config, dataset), _rewarded(config, dataset) + config.compare.curve_examples)",
        "chosen = slice(0, config.compare.curve_examples)",
        "an ENN would be flattered by what it has seen",
        ("tests/test_compare.py::test_what_is_rewarded_is_never_chosen_on",),
    ),
    Mutation(
        "strengths are tuned on the targets of the comparison",
        "pipeline/compare/tasks.py",
        'stream(config.seed, "tuning", number)',
        'stream(config.seed, "compare", number)',
        "tuned arms would have seen the seeds that they are judged on",
        ("tests/test_compare.py::test_tuning_gives_each_candidate_the_same_fresh_targets",),
    ),
    Mutation(
        "the worst strength is chosen",
        "pipeline/compare/tasks.py",
        "[int(final.argmax())]",
        "[int(final.argmin())]",
        "every baseline would be weak",
        ("tests/test_compare.py::test_the_best_mean_at_the_end_is_chosen",),
    ),
    Mutation(
        "a fixed λ is left to the ENN",
        "pipeline/compare/train.py",
        "return torch.where(strengths < 0, own, strengths)",
        "return torch.where(strengths < 0, own, own)",
        "the tuned λ would be printed and not used",
        ("tests/test_compare.py::test_a_strength_belongs_to_its_member",),
    ),
    Mutation(
        "differences are not paired",
        "pipeline/results/statistics.py",
        "np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)",
        "np.asarray(values, dtype=np.float64) - np.mean(np.asarray(baseline, dtype=np.float64))",
        "intervals would hold the spread of seeds",
        ("tests/test_results.py::test_pairing_is_used",),
    ),
    Mutation(
        "the sign test has one side",
        "pipeline/results/statistics.py",
        'return 2.0 / 2**count, "sign"',
        'return 1.0 / 2**count, "sign"',
        "p would be half of what it is",
        ("tests/test_results.py::test_equal_differences",),
    ),
    Mutation(
        "intervals are narrower than they say",
        "pipeline/results/statistics.py",
        '"confidence_level": confidence,',
        '"confidence_level": 0.8 * confidence,',
        "one of four would miss",
        ("tests/test_results.py::test_an_interval_holds_the_mean_as_often_as_it_says",),
    ),
    Mutation(
        "points of one run count as independent",
        "pipeline/results/statistics.py",
        "labels = _labels(groups, len(x))[finite]",
        "labels = _labels(None, len(x))[finite]",
        "a rank correlation would look surer than it is",
        ("tests/test_results.py::test_whole_runs_make_a_wider_interval_and_many_points_the_same",),
    ),
    Mutation(
        "a tail holds twice its share",
        "pipeline/results/statistics.py",
        "tail = (1 - confidence) / 2",
        "tail = 1 - confidence",
        "an interval at 95 % would be one at 90 %",
        ("tests/test_results.py::test_rank_correlation_equals_scipys_and_a_slow_bootstrap",),
    ),
    Mutation(
        "every test counts as the first of its family",
        "pipeline/results/statistics.py",
        "(len(tested) - before) * p",
        "len(tested) * p",
        "Bonferroni's correction under Holm's name",
        ("tests/test_results.py::test_holm_equals_the_formula_worked_by_hand",),
    ),
    Mutation(
        "a corrected p may be below that of a smaller one",
        "pipeline/results/statistics.py",
        "largest = max(largest, min(1.0,",
        "largest = max(0.0, min(1.0,",
        "a test would be rejected after one that was not",
        ("tests/test_results.py::test_holm_is_never_below_p_keeps_the_order_and_is_the_slow_definition",),
    ),
    Mutation(
        "all candidates learn at one rate",
        "pipeline/compare/train.py",
        "torch.tensor([rate * factor for factor in task.strengths])",
        "torch.tensor([rate for factor in task.strengths])",
        "every candidate is the same, and what is chosen is chance",
        ("tests/test_compare_command.py::test_a_candidate_is_trained_as_it_would_be_alone",),
    ),
    Mutation(
        "the edge of the candidates is not said",
        "pipeline/results/edges.py",
        "ends = {} if len(scale) < 2 else",
        "ends = {} if len(scale) < 9 else",
        "a rate that should have been looked for further out looks chosen",
        ("tests/test_compare_command.py::test_the_best_on_validation_data_is_chosen_and_an_edge_is_said",),
    ),
    Mutation(
        "looking at angles lets a rule learn",
        "pipeline/instruction/angles.py",
        "    signal.load_state_dict(before)\n",
        "",
        "a measured run is another one than a run that is not measured",
        ("tests/test_compare_command.py::test_looking_at_angles_changes_nothing",),
    ),
    Mutation(
        "the halves' gradients come in time",
        "pipeline/learning/halves.py",
        '        if number >= lag:\n            yield "learn", number - lag',
        '        if number < steps:\n            yield "learn", number',
        "halves that wait for each other are called decoupled",
        ("tests/test_decoupled.py::test_every_batch_is_learned_from_once_and_late_by_the_lag",),
    ),
)

FINISHED = (
    Mutation(
        "images of any shape are the same data",
        "pipeline/data/dataset.py",
        "if not self._usual_shape:",
        "if False:",
        "convolutions would be scored on one shape of the images and shown as those of another",
        ("tests/test_identity.py::test_the_digest_is_of_the_image_shape_where_the_features_do_not_say_it",),
    ),
    Mutation(
        "finished work is of any data",
        "pipeline/command_line/finished.py",
        'and noted.get("sources") == job.find_sources()',
        "and True",
        "results of other data would be shown as those of these",
        ("tests/test_finished.py::test_nothing_changes_unnoticed",),
    ),
    Mutation(
        "finished work may have been changed",
        "pipeline/command_line/finished.py",
        'and noted.get("files") == fingerprints(job.folder)',
        "and True",
        "a result edited by hand would be shown",
        ("tests/test_finished.py::test_nothing_changes_unnoticed",),
    ),
    Mutation(
        "finished work may start from any ENN",
        "pipeline/command_line/finished.py",
        'and noted.get("starts") == _digest_of(starts)',
        "and True",
        "an ENN that was trained anew would not be learned from",
        ("tests/test_finished.py::test_nothing_changes_unnoticed",),
    ),
    Mutation(
        "work that was taken up again is finished",
        "pipeline/command_line/finished.py",
        '(records.status(job.root) or records.status(job.name)) != "FINISHED" or records.running()',
        "False",
        "a run would stay RUNNING or KILLED for good",
        ("tests/test_finished.py::test_nothing_changes_unnoticed",),
    ),
)

SEARCH = (
    Mutation(
        "the worst candidates go on",
        "pipeline/search/ladder.py",
        "better = sum(value > values[-1] for",
        "better = sum(value < values[-1] for",
        "a search would end with what it should have stopped",
        ("tests/test_search.py::test_the_ladder_lets_the_best_third_go_on",),
    ),
    Mutation(
        "a verdict looks at whoever is finished",
        "pipeline/search/ladder.py",
        "for other in range(number + 1):\n            result",
        "for other in range(len(self.chosen)):\n            if (other, stage) not in self.results:\n"
        "                continue\n            result",
        "the number of workers would decide what is found",
        ("tests/test_search.py::test_the_outcome_does_not_depend_on_workers_or_timing[tpe]",),
    ),
    Mutation(
        "every candidate is proposed alike",
        "pipeline/search/propose.py",
        'stream(self.seed, "search", self.group.name, number)',
        'stream(self.seed, "search", self.group.name, 0)',
        "a random search would try one thing",
        ("tests/test_search.py::test_the_outcome_does_not_depend_on_workers_or_timing[random]",),
    ),
    Mutation(
        "what is to be large is made small",
        "pipeline/search/outcome.py",
        'signs = {"maximise": -1.0, "minimise": 1.0}',
        'signs = {"maximise": 1.0, "minimise": 1.0}',
        "the best row of the table would be the worst",
        ("tests/test_search.py::test_the_front_is_what_nothing_beats",),
    ),
    Mutation(
        "the front keeps what is beaten",
        "pipeline/search/outcome.py",
        "((points <= point).all(1) & (points < point).any(1)).any()",
        "((points < point).all(1) & (points < point).any(1)).any()",
        "a slower candidate of the same gain would be recommended",
        ("tests/test_search.py::test_the_front_is_what_nothing_beats",),
    ),
    Mutation(
        "a pair of values that cannot be had is allowed",
        "pipeline/search/together.py",
        "            if why := self._refusal(candidate):\n                self._blame(candidate, why)\n",
        "",
        "candidates would fail by what their file allows",
        ("tests/test_search.py::test_values_that_cannot_go_together_are_refused_before_any_work",),
    ),
    Mutation(
        "candidates learn from the runs held out",
        "rl/offline/recorded.py",
        "chosen = runs & np.isin",
        "chosen = np.isin",
        "the first stage would measure memory",
        ("tests/test_search.py::test_nothing_is_learned_from_runs_that_are_held_out",),
    ),
    Mutation(
        "a derivative goes to the members of another candidate",
        "pipeline/search/kinds/rule.py",
        "phi=phi.repeat_interleave(targets, 0)",
        "phi=phi.repeat(targets, 1)",
        "candidates of one population would be judged by each other's φ",
        ("tests/test_rule_search.py::test_candidates_of_one_population_are_what_they_are_alone",),
    ),
    Mutation(
        "a stage takes the result of another stage",
        "pipeline/search/candidates.py",
        "if there.get(name, value) != value:",
        "if False:",
        "a short training's result would stand for a long one's",
        ("tests/test_best.py::test_a_result_that_is_not_that_of_its_stage_is_refused_before_any_work",),
    ),
    Mutation(
        "a result that was edited is believed",
        "pipeline/search/candidates.py",
        "    check_seal(path, mapping(found))\n",
        "",
        "a hand would choose the best candidate",
        ("tests/test_best.py::test_a_result_that_is_not_that_of_its_stage_is_refused_before_any_work",),
    ),
    Mutation(
        "what the last stage decides is no part of a result's origin",
        "pipeline/search/candidates.py",
        "    return judged_from(config, dataset)\n",
        "    return Origin(data_of(dataset), to_dotted(PRESETS[plan.preset]) | group.settings | dict(chosen))\n",
        "results of other lengths, splits and ENNs would be taken for a search's own",
        ("tests/test_best.py::test_a_result_names_the_enn_that_it_starts_from_and_what_was_recorded",),
    ),
    Mutation(
        "a population that was stopped goes on with what is left of it",
        "pipeline/search/ladder.py",
        "other in side_by_side if not self._ended_before(other, stage)]",
        "other in side_by_side if not self._ended_before(other, stage) and (other, stage) not in self.results]",
        "its candidates would be rounded otherwise than in a search that nothing stopped",
        ("tests/test_rule_search.py::test_who_is_judged_with_whom_depends_on_no_worker_and_no_interruption",),
    ),
    Mutation(
        "workers share the candidates of a population",
        "pipeline/search/tuning.py",
        "TOGETHER if together else 1)",
        "-(-search.plan.budget.batch // worker_count(placement)) if together else 1)",
        "the number of workers would decide what a search over rules finds",
        ("tests/test_rule_search.py::test_who_is_judged_with_whom_depends_on_no_worker_and_no_interruption",),
    ),
    Mutation(
        "a candidate of a batch does not wait for the batch before",
        "pipeline/search/values.py",
        "number // self.batch * self.batch",
        "max(0, number // self.batch - 1) * self.batch",
        "a sampler would know less than it could, and not say so",
        ("tests/test_samplers.py::test_a_batch_sees_what_came_before_it_and_any_number_of_workers_finds_the_same",),
    ),
    Mutation(
        "a trade-off counts for nothing",
        "pipeline/search/samplers/acquisition.py",
        "gain = mean - best - trade_off",
        "gain = mean - best",
        "EI at every trade-off would be the same search",
        ("tests/test_samplers.py::test_an_acquisition_is_the_expectation_that_its_name_says",),
    ),
    Mutation(
        "settings of a rule rename every search",
        "pipeline/command_line/search.py",
        '("rule.", "evolution."',
        '("rool.", "evolution."',
        "a finished search would be done again in another folder",
        ("tests/test_rule_search.py::test_searches_of_before_keep_their_folders",),
    ),
)

PUBLIC = (
    Mutation(
        "a module that was imported before is not looked at",
        "grad_instructor/neighbours.py",
        "loaded = sys.modules.get(name)",
        "loaded = None",
        "somebody's pipeline would be used in place of ours, with an error deep inside",
        ("tests/test_public.py::test_one_that_was_imported_before_is_named",),
    ),
    Mutation(
        "folders without __init__.py are overlooked",
        "grad_instructor/neighbours.py",
        "return next(iter(spec.submodule_search_locations or ()), None)",
        "return None",
        "the sentence would say that Grad-Instructor is not installed well",
        ("tests/test_public.py::test_a_folder_without_init_is_in_the_way_where_python_prefers_it",),
    ),
    Mutation(
        "Ray's processes are taken to find what this one finds",
        "grad_instructor/neighbours.py",
        "path = [folder or os.getcwd(), *sys.path]",
        "path = [*sys.path]",
        "a run would fail when its first worker starts",
        ("tests/test_public.py::test_what_rays_processes_would_take_for_ours_is_refused_before_any_work",),
    ),
    Mutation(
        "rl is not looked for where it is needed",
        "grad_instructor/calls.py",
        "check()  # rl too: the ENN is trained there",
        "check(['pipeline'])",
        "a run would end in somebody's rl, after minutes",
        ("tests/test_public.py::test_another_beside_the_script_is_named",),
    ),
    Mutation(
        "a command as a function leaves its signal handlers",
        "grad_instructor/calls.py",
        "    with guest.as_before():",
        "    if True:",
        "Ctrl-C would no longer be what it was in somebody's notebook",
        ("tests/test_calls.py::test_the_process_stays_as_it_was", "tests/test_calls.py::test_ctrl_c_is_theirs_to_catch"),
    ),
)

EQUATIONS = (
    Mutation(
        "columns and rows of an equation's norms change places",
        "pipeline/learning/expression/unaries.py",
        "BOTH, COLUMN, ROW = (1, 2), (2,), (1,)",
        "BOTH, COLUMN, ROW = (1, 2), (1,), (2,)",
        "the papers' matrices are our transposes: another equation than the one that is written",
        ("tests/test_expression.py::test_columns_of_the_papers_are_our_rows",),
    ),
    Mutation(
        "what evolution found is compared at ten times its rates",
        "pipeline/search/kinds/equation.py",
        '"compare.rates": [rate / rates[0] for rate in rates]',
        '"compare.rates": [rate / rates[-1] for rate in rates]',
        "an equation would be compared at rates at which it was never judged",
        ("tests/test_evolution.py::test_what_is_found_can_be_compared",),
    ),
    Mutation(
        "what a clip hides is hidden",
        "pipeline/learning/expression/evaluate.py",
        "        if does.hides and not below.finite:\n            self.check(x)",
        "        if does.hides and below.finite:\n            self.check(x)",
        "a member in which something overflowed would go on as if nothing were",
        ("tests/test_expression.py::test_a_member_in_which_something_is_not_finite_is_frozen_and_no_other_notices",),
    ),
    Mutation(
        "what an equation draws is the same at each step",
        "pipeline/learning/expression/evaluate.py",
        "self.context.layer, place, self.step)",
        "self.context.layer, place, 0)",
        "noise that never changes is a fixed matrix",
        (
            "tests/test_expression.py::test_a_unary_operator_is_the_textbooks",
            "tests/test_expression.py::test_what_is_drawn_is_the_members_own_and_new_at_each_step_and_place",
        ),
    ),
    Mutation(
        "evolution keeps the worst",
        "pipeline/search/equations.py",
        "(-self.fitness[number], number)",
        "(self.fitness[number], number)",
        "it would be no better than chance, and say nothing",
        ("tests/test_evolution.py::test_evolution_climbs_and_random_search_does_not",),
    ),
)

ARCHITECTURES = (
    Mutation(
        "the assisted form trains the worst of ten",
        "pipeline/architectures/assist.py",
        "return codes[max(range",
        "return codes[min(range",
        "a predictor would look as if it did harm",
        ("tests/test_architectures.py::test_the_assisted_form_keeps_the_best_of_ten",),
    ),
    Mutation(
        "REINFORCE goes downhill",
        "pipeline/architectures/searches/reinforce.py",
        "self.logits = self.logits + RATE",
        "self.logits = self.logits - RATE",
        "the policy would learn to avoid what is good",
        ("tests/test_architectures.py::test_reinforce_against_autograd",),
    ),
    Mutation(
        "the oldest of evolution never leaves",
        "pipeline/architectures/searches/evolution.py",
        "deque(maxlen=POPULATION)",
        "deque(maxlen=10 * POPULATION)",
        "it would be another algorithm: elitist evolution",
        ("tests/test_architectures.py::test_evolution_against_a_slow_reference",),
    ),
    Mutation(
        "cells are read from the last node on",
        "pipeline/architectures/space.py",
        "for choice, count in zip(code, self.counts, strict=True):",
        "for choice, count in zip(code[::-1], self.counts[::-1], strict=True):",
        "every accuracy of the table would be that of another cell",
        ("tests/test_architectures.py::test_index_and_text_lead_back",),
    ),
    Mutation(
        "a search on a table goes on when its seconds are spent",
        "pipeline/search/architectures.py",
        "self.spent >= self.config.architecture.seconds",
        "self.spent >= 2 * self.config.architecture.seconds",
        "searches would be compared at different costs",
        ("tests/test_nas_search.py::test_killed_and_resumed_it_ends_as_one_straight_search",),
    ),
    Mutation(
        "dead weights are forgotten",
        "pipeline/architectures/scoring.py",
        "own = named(predictor).dead_weights or space is None",
        "own = space is None",
        "the number of parameters would be that of another cell",
        ("tests/test_predict.py::test_equal_cells_are_scored_once_and_dead_weights_are_not_forgotten",),
    ),
    Mutation(
        "a network with two codes is drawn twice",
        "pipeline/architectures/scoring.py",
        "itertools.filterfalse(own.repeated, codes)",
        "codes",
        "one network would count as two, and some would be twice as likely",
        ("tests/test_architectures.py::test_no_architecture_is_drawn_twice_and_each_is_as_likely",),
    ),
    Mutation(
        "a combination costs what its dearest part does",
        "pipeline/results/ranking.py",
        "[sum(own) for own in zip(",
        "[max(own) for own in zip(",
        "combinations would look cheaper than they are",
        ("tests/test_predict.py::test_combinations_are_made_of_ranks_and_cost_what_their_parts_do",),
    ),
    Mutation(
        "scores may be of anything",
        "pipeline/command_line/each.py",
        'if CHECKSUM not in kept or not fits(path, kept.get("origin"), self.origin(task)):',
        "if CHECKSUM not in kept:",
        "a score file copied from a folder with another seed would be shown",
        ("tests/test_predict.py::test_a_score_goes_with_what_it_was_made_from",),
    ),
    Mutation(
        "networks are known by the file that gives them",
        "pipeline/command_line/predicting.py",
        'own["network"] = wanted.models()[network].digest',
        "pass",
        "scores would be those of networks that another file made otherwise",
        ("tests/test_predict.py::test_networks_that_are_made_otherwise_are_others",),
    ),
    Mutation(
        "a network's weights do not count",
        "pipeline/architectures/identity.py",
        "[[name, first.setdefault(id(tensor), name), _of_value(tensor)] for",
        "[[name, first.setdefault(id(tensor), name), list(tensor.shape)] for",
        "scores would be those of networks that started elsewhere",
        ("tests/test_predict.py::test_a_network_is_known_by_all_that_it_is",),
    ),
    Mutation(
        "an assisted search believes any scores",
        "pipeline/search/architectures.py",
        'if CHECKSUM not in kept or not fits(self.path, kept.get("origin"), origin):',
        "if CHECKSUM not in kept:",
        "candidates would be chosen by the scores of other data",
        ("tests/test_nas_search.py::test_scores_of_something_else_are_refused",),
    ),
    Mutation(
        "recorded accuracies are believed on any data",
        "pipeline/architectures/recorded.py",
        'if digest not in (None, found.get("digest")):',
        "if False:",
        "predictors would be held against accuracies on other images",
        ("tests/test_predict.py::test_accuracies_of_other_data_are_not_believed",),
    ),
)


PREDICTORS = (
    Mutation(
        "Fisher takes the first axis for the examples",
        "pipeline/predictors/layout.py",
        "return values.movedim(axis, 0) if channels is None else values.movedim((axis, channels), (0, 1))",
        "return values if channels is None else values.movedim(channels, 1)",
        "positions would be examples in a network whose sequences come with positions first",
        ("tests/test_predictors_within.py::test_attention_is_looked_at_within",),
    ),
    Mutation(
        "a parameter that nobody counts is left out in silence",
        "pipeline/predictors/uses.py",
        "    if unknown:",
        "    if not unknown:",
        "a network would look smaller than it is, and rank among others by a part of it",
        ("tests/test_predictors_within.py::test_a_weight_that_nobody_knows_is_refused_by_its_name",),
    ),
    Mutation(
        "recurrent layers drop out between their layers",
        "pipeline/predictors/recurrent.py",
        "return (*args[:at], 0.0, *args[at + 1 :])",
        "return args",
        "a score would be that of one draw",
        ("tests/test_predictors_within.py::test_weights_within_a_layer_count_as_its_paper_says",),
    ),
    Mutation(
        "a step that a loop leaves out counts",
        "pipeline/instruction/instructor.py",
        "        self.step -= again\n",
        "",
        "the ENN would be told that the run is further than it is",
        ("tests/test_own_loop.py::test_a_step_that_a_loop_leaves_out_is_not_counted_and_its_instruction_is_not_lost",),
    ),
    Mutation(
        "AZ-NAS is the mean of its parts' ranks",
        "pipeline/predictors/rank.py",
        "else by_ranks(columns, own.by)",
        "else by_ranks(columns)",
        "it would rank networks as its paper does not",
        ("tests/test_predictors.py::test_ranks_by_hand",),
    ),
    Mutation(
        "an ENN that a predictor is not made for is the best",
        "pipeline/search/ladder.py",
        "[-math.inf if math.isnan(score)",
        "[math.inf if math.isnan(score)",
        "searches would go on with what nobody could rank",
        ("tests/test_predicted_stages.py::test_what_a_predictor_is_not_made_for_goes_on_only_where_nothing_else_is",),
    ),
    Mutation(
        "any network's examples are believed to be alone in a pass",
        "pipeline/predictors/gradients.py",
        "return bool(agree and (distances",
        "return bool(True or (distances",
        "a network that mixes its examples would have gradients of nobody",
        ("tests/test_predictors.py::test_gradsign_is_the_loop_over_examples",),
    ),
    Mutation(
        "GradSign adds signs that do not agree",
        "pipeline/predictors/gradsign.py",
        "int(own.abs().sum(dtype=torch.float64))",
        "int(own.sum(dtype=torch.float64))",
        "weights that agree on going down would take away from those that agree on going up",
        ("tests/test_predictors.py::test_gradsign_is_the_loop_over_examples",),
    ),
    Mutation(
        "one network that does not fit ends the ranking",
        "pipeline/predictors/rank.py",
        "if len(refused[part]) == len(networks)]",
        "if refused[part]]",
        "a list with one odd network could not be ranked",
        ("tests/test_predictors.py::test_a_network_that_a_predictor_cannot_use_is_named_and_the_others_are_ranked",),
    ),
    Mutation(
        "what a network drops out by a function is noise in its score",
        "pipeline/predictors/untouched.py",
        "if func in DROPOUTS:",
        "if False:",
        "a score would be that of one draw",
        ("tests/test_predictors.py::test_dropout_is_off_wherever_a_network_has_it",),
    ),
    Mutation(
        "a pass's BatchNorm shares the batch's statistics",
        "pipeline/predictors/alone.py",
        "if not training:",
        "if True:",
        "no network with BatchNorm would be computed in passes, and all would be several times slower",
        ("tests/test_predictors.py::test_examples_are_computed_together_where_that_is_the_same",),
    ),
    Mutation(
        "a scored network stays in training mode",
        "pipeline/predictors/untouched.py",
        "own[name] = value",
        "own[name] = True if name == 'training' else value",
        "scoring a network would change what it predicts afterwards",
        ("tests/test_predictors.py::test_no_trace_is_left",),
    ),
    Mutation(
        "networks stand in the wrong order",
        "pipeline/predictors/rank.py",
        "key=lambda place: -scores[place]",
        "key=lambda place: scores[place]",
        "the worst network would be chosen",
        ("tests/test_predictors.py::test_networks_are_ranked",),
    ),
    Mutation(
        "a network that writes into its input writes into the caller's batch",
        "pipeline/predictors/checks.py",
        "x, y = x[:count].clone(), y[:count]",
        "x, y = x[:count], y[:count]",
        "every later network would be scored on other images",
        ("tests/test_predictors.py::test_a_network_may_write_into_its_input",),
    ),
    Mutation(
        "an example that is computed alone is not copied",
        "pipeline/predictors/gradients.py",
        "scores = network(own.clone())",
        "scores = network(own)",
        "GradSign would see the example of its own check twice overwritten",
        ("tests/test_predictors.py::test_a_network_may_write_into_its_input",),
    ),
)

FILES = (
    Mutation(
        "a hard link is a file like any other",
        "pipeline/received.py",
        "if os.lstat(names[0]).st_nlink > len(names):",
        "if os.lstat(names[0]).st_nlink > 99:",
        "a received folder would empty or overwrite a file of its user",
        ("tests/test_links.py::test_whatever_is_no_plain_file_is_refused_by_name_and_nothing_behind_it_changes",),
    ),
    Mutation(
        "what is opened for writing is not looked at",
        "pipeline/received.py",
        "if not stat.S_ISREG(there.st_mode) or there.st_nlink > 1:",
        "if False:",
        "a link made after the folder was looked through would be written to",
        ("tests/test_links.py::test_what_is_opened_for_writing_is_looked_at_once_it_is_open",),
    ),
    Mutation(
        "a folder that cannot be looked through is taken for an empty one",
        "pipeline/received.py",
        "except (FileNotFoundError, NotADirectoryError):  # it has gone",
        "except OSError:  # it has gone",
        "what is in it would be opened by name, through whatever link it is",
        ("tests/test_links.py::test_a_folder_that_cannot_be_looked_through_is_refused",),
    ),
    Mutation(
        "no file is too large",
        "pipeline/files.py",
        "    if size * times > free // 2:",
        "    if size * times < 0:",
        "a few bytes of a received folder would fill the memory",
        ("tests/test_links.py::test_a_file_is_looked_at_before_it_is_read",),
    ),
    Mutation(
        "a journal is a database's own business",
        "pipeline/results/databases.py",
        "return file.read() == _NAMES_A_FILE",
        "return False",
        "SQLite would delete the file of a user that a received database names",
        ("tests/test_links.py::test_a_journal_that_names_a_file_elsewhere_is_not_followed",),
    ),
    Mutation(
        "sixteen bits are cut off to eight",
        "pipeline/data/images.py",
        "if mode.startswith(DEEP):",
        "if not mode:",
        "nearly every pixel of a medical image would be white, and nobody would know",
        ("tests/test_own_data.py::test_pixels_that_would_be_cut_off_and_films_are_refused",),
    ),
    Mutation(
        "a folder is sent as if it were a file",
        "pipeline/results/mlflow/files.py",
        "if not path.is_file() or path.stat().st_nlink > 1:",
        "if not path.exists():",
        "MLflow would be sent what links in it lead to",
        ("tests/test_links.py::test_a_folder_that_records_name_as_a_file_sends_nothing",),
    ),
    Mutation(
        "a user ends at the first @",
        "pipeline/addresses.py",
        'return (rest[: places[-1].start()], rest[places[-1].end() :]) if places else ("", rest)',
        'return (rest[: places[0].start()], rest[places[0].end() :]) if places else ("", rest)',
        "the rest of a password with an @ in it would be printed and recorded",
        ("tests/test_secrets.py::test_no_form_of_an_address_tells_its_password",),
    ),
    Mutation(
        "pixels up to 255 pass as they are",
        "pipeline/data/arrays.py",
        "if _is_image(x) and np.max(x) > 127 and _within_a_byte(x):",
        "if False:",
        "a network would reach 11 % instead of 79, and nobody would know why",
        ("tests/test_own_data.py::test_pixels_up_to_255_as_floats_are_noticed",),
    ),
    Mutation(
        "the first validation images are all of one class",
        "pipeline/data/images.py",
        'if part == "validation":',
        'if part == "none":',
        "choices would be made on one class",
        ("tests/test_own_data.py::test_the_first_of_the_validation_images_are_a_fair_sample",),
    ),
    Mutation(
        "a database that cannot be looked through is taken as it is",
        "pipeline/results/mlflow/database.py",
        "        away = 1\n",
        "        away = 0\n",
        "MLflow would write to wherever a received database that hides from a look leads it",
        ("tests/test_links.py::test_a_received_database_that_cannot_be_looked_through_is_not_used",),
    ),
    Mutation(
        "a locked database is a damaged one",
        "pipeline/results/mlflow/database.py",
        'if getattr(error, "sqlite_errorcode", 0) & KIND not in UNREADABLE:',
        "if False:",
        "what another program has open would be renamed under its hands",
        ("tests/test_links.py::test_a_database_that_is_locked_is_neither_used_nor_set_aside",),
    ),
    Mutation(
        "an ENN is there when its weights are",
        "pipeline/enn/files.py",
        'return os.path.lexists(path) and os.path.lexists(path.with_suffix(".json"))',
        "return os.path.lexists(path)",
        "after a kill between its two files no command would go on, in no way that it names",
        ("tests/test_cli.py::test_an_enn_of_which_a_file_is_lost_is_made_again_by_the_command_that_is_named",),
    ),
    Mutation(
        "a training goes on from what is gone",
        "pipeline/results/checkpoints.py",
        "missing = [path for path in needed(count) if not path.exists()]",
        "missing: list[Path] = []",
        "who was told to delete a damaged file could not go on",
        ("tests/test_unrolled.py::test_stopped_and_resumed_is_the_same",),
    ),
    Mutation(
        "an end that ends at its own pace",
        "pipeline/interrupts.py",
        "    if _State.code is not None:\n        for stream",
        "    if _State.code is None:\n        for stream",
        "a command that had done all would be told to have been killed",
        ("tests/test_interrupts.py::test_a_signal_after_all_is_done_changes_nothing",),
    ),
    Mutation(
        "closed streams stay closed",
        "pipeline/command_line/program.py",
        "os.open(os.devnull, os.O_RDWR)  # takes",
        "number  # takes",
        "what is printed would be written into the records",
        ("tests/test_surroundings.py::test_a_service_without_a_screen_does_the_same_and_writes_nothing_into_its_files",),
    ),
)

PAGES = (
    Mutation(
        "names become part of the page",
        "pipeline/results/page/render.py",
        "autoescape=True",
        "autoescape=False",
        "a script in the name of somebody's data set would run in the browser of whoever reads the report",
        ("tests/test_report_page.py::test_names_are_text",),
    ),
    Mutation(
        "each map has a colour scale of its own",
        "pipeline/results/figures/maps.py",
        "scale = scale or scale_of(maps)",
        "scale = scale_of(maps[:1])",
        "what is faint and what is strong would look alike",
        ("tests/test_figures.py::test_a_series_of_maps_has_one_scale_with_nothing_in_the_middle",),
    ),
    Mutation(
        "an answer by p that is not corrected",
        "pipeline/compare/page/found.py",
        'row["p_holm"] < SURE',
        'row["p"] < SURE',
        "of many arms one would always seem to be better",
        ("tests/test_report_page.py::test_an_answer_is_told_by_the_corrected_p",),
    ),
    Mutation(
        "an edge is told though an equal candidate lies inside",
        "pipeline/results/edges.py",
        "if all(found) else",
        "if found[0] else",
        "a search for better learning rates where there is nothing to find",
        ("tests/test_compare_command.py::test_the_best_on_validation_data_is_chosen_and_an_edge_is_said",),
    ),
)

RECORDED = (
    Mutation(
        "a target that diverged has the test accuracy of what it was frozen with",
        "pipeline/compare/report.py",
        "    population.freeze(torch.tensor(diverged_at) >= 0)\n",
        "",
        "an arm whose targets fail looks as good as the others",
        ("tests/test_compare.py::test_a_target_that_diverged_is_wrong_on_every_example",),
    ),
    Mutation(
        "what overflows in the last step has not diverged",
        "pipeline/instruction/loop.py",
        "    population.freeze(torch.from_numpy(~np.isfinite(trace.loss[-1])).to(population.device))\n",
        "",
        "a report says that none diverged, of targets that have no loss",
        ("tests/test_compare.py::test_a_target_that_overflows_in_the_last_step_has_diverged",),
    ),
    Mutation(
        "the ENN's own choice is an end of the candidates for λ",
        "pipeline/results/edges.py",
        " if float(value) != POLICY}",
        "}",
        "the smallest λ that was tried is not said to be",
        ("tests/test_compare_command.py::test_a_strength_at_an_edge_of_its_candidates_is_said",),
    ),
    Mutation(
        "the time left is told by the first of many candidates that end together",
        "pipeline/progress.py",
        "if self.at_once and (self.done - self.before) % self.at_once == 0:",
        "if self.at_once:",
        "ten minutes are foretold of a search that takes one",
        ("tests/test_screen.py::test_no_time_is_foretold_before_a_round_of_what_is_done_at_once_is_over",),
    ),
    Mutation(
        "FORCE_COLOR makes a terminal of a file",
        "pipeline/progress.py",
        '"soft_wrap": True, "force_terminal": False}',
        '"soft_wrap": True}',
        "a log would hold cursor movements",
        ("tests/test_screen.py::test_a_file_gets_lines_and_no_control_characters",),
    ),
    Mutation(
        "MLflow is asked for lines through settings that some candidates lack",
        "pipeline/results/mlflow/view.py",
        "return [name for name in names if all(name in _params(run) for run in _compared(runs))]",
        "return list(names)",
        "it would draw none for those candidates",
        ("tests/test_mlflow.py::test_a_search_is_seen_by_the_settings_in_which_its_candidates_differ",),
    ),
    Mutation(
        "an interval is made of those resamples alone that have a rank correlation",
        "pipeline/results/statistics.py",
        "if len(tau) < DEFINED * resamples:",
        "if len(tau) == 0:",
        "it may not hold the number that it is of",
        ("tests/test_results.py::test_rank_correlation_equals_scipys_and_a_slow_bootstrap",),
    ),
    Mutation(
        "arms are said to start as configured",
        "pipeline/command_line/described.py",
        '"target.initialisation": own.start or config.target.initialisation',
        '"target.initialisation": config.target.initialisation',
        "MLflow would say normal of an arm from He",
        ("tests/test_compare_command.py::test_what_an_arm_is_said_to_be_is_what_is_trained",),
    ),
    Mutation(
        "all points of a curve share one instant",
        "pipeline/results/mlflow/events.py",
        'times = event.get("times", [event["time"]] * len(event["steps"]))',
        'times = [event["time"]] * len(event["steps"])',
        "a chart by time would be a vertical line",
        ("tests/test_mlflow.py::test_mlflow_holds_what_was_recorded",),
    ),
    Mutation(
        "a run that has finished is opened by a command that has nothing new",
        "pipeline/results/records.py",
        'if lazily and self._status.get(run) == "FINISHED":',
        "if lazily and not self._status:",
        "a repeated command would reopen and end it",
        ("tests/test_mlflow.py::test_what_is_sent_again_changes_nothing_and_what_goes_on_only_what_is_new",),
    ),
    Mutation(
        "what was told anew is dropped when it is sent again",
        "pipeline/results/mlflow/sender.py",
        'if start is not None and self._told.get(run) == str(start["time"]):',
        "if start is None:",
        "each sending from the beginning would delete a run and make another",
        ("tests/test_mlflow.py::test_what_is_done_again_replaces_its_run_in_mlflow",),
    ),
    Mutation(
        "a chosen learning rate is not told",
        "pipeline/command_line/arm_runs.py",
        'params = described.of_arm(job.config, arm, choice.get("strength"), chooses_rate(job.config, arm))',
        'params = described.of_arm(job.config, arm, choice.get("strength"), False)',
        "all arms would be said to learn at the configured rate",
        ("tests/test_compare_command.py::test_mlflow_has_a_run_for_each_arm_as_it_really_is_and_the_answer_in_its_parent",),
    ),
)

SCREENS = (
    Mutation(
        "a number keeps what a product in binary leaves",
        "pipeline/results/measures.py",
        """DIGITS = 12
""",
        """DIGITS = 17
""",
        "MLflow shows a rate as 0.30000000000000004",
        ("tests/test_screen.py::test_a_number_is_written_by_its_shortest_form",),
    ),
    Mutation(
        "a minus sign that an encoding lacks is left out",
        "pipeline/command_line/dispatch.py",
        """ALIKE = str.maketrans({"−": "-", """,
        """ALIKE = str.maketrans({"−": "", """,
        "a terminal shows a loss as a gain",
        ("tests/test_screen.py::test_a_number_keeps_its_sign_in_every_encoding",),
    ),
    Mutation(
        "a child ends alone",
        "pipeline/children.py",
        """        os.killpg(0, signal.SIGTERM)
""",
        """        os.kill(os.getpid(), signal.SIGTERM)
""",
        "MLflow's server, which its command has started, outlives a killed ui",
        ("tests/test_children.py::test_children_end_with_a_parent_that_is_killed",),
    ),
    Mutation(
        "a search's accuracy has no unit",
        "pipeline/results/measures.py",
        """    "accuracy": "%",
""",
        "",
        "93 may be a share, a percentage or a count",
        ("tests/test_screen.py::test_a_measure_has_its_unit_wherever_it_is_shown",),
    ),
)


MUTATIONS = (
    *RECORDED,
    *TARGETS,
    *LEARNING,
    *ENN,
    *INSTRUCTION,
    *RL,
    *COMPARISON,
    *SEARCH,
    *FINISHED,
    *PUBLIC,
    *EQUATIONS,
    *ARCHITECTURES,
    *PREDICTORS,
    *FILES,
    *PAGES,
    *SCREENS,
)


# Doing it -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation."""

    mutation: Mutation
    how: str
    """killed, survived or broken"""
    seconds: float
    output: str


def main(given: Sequence[str] | None = None, mutations: Sequence[Mutation] = MUTATIONS, root: Path = ROOT) -> int:
    options = arguments(given)
    chosen = [m for m in mutations if options.only in f"{m.name}\n{m.file}\n{m.why}"]
    if not chosen:
        print(f"no mutation's name, file or reason contains {options.only!r}; leave --only out for all.", file=sys.stderr)
        return 2
    try:
        for mutation in chosen:
            mutated(mutation, root)
        with copies(root, options.jobs) as folders:
            check(chosen, folders)
            outcomes = list(show(chosen, folders))
    except Impossible as error:
        print(error, file=sys.stderr)
        return 2
    return summarise(outcomes)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose name, file or reason contains TEXT")
    parser.add_argument("--jobs", type=int, default=2, help="mutations tried at once (default: 2)")
    options = parser.parse_args(given)
    if options.jobs < 1:
        parser.error("--jobs is a number above 0")
    return options


def mutated(mutation: Mutation, root: Path) -> str:
    """The file's text with the mistake in it.

    Raises:
        Impossible: the text to be replaced is not there exactly once.
    """
    text = (root / mutation.file).read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise Impossible(
            f"{mutation.name!r}: its text occurs {text.count(mutation.old)} times in {mutation.file}, and must occur once; "
            f"write into {Path(__file__).name} what the code says now: {mutation.old!r}"
        )
    return text.replace(mutation.old, mutation.new)


@contextmanager
def copies(root: Path, count: int) -> Iterator[list[Path]]:
    """So many copies of what tests need, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folders = [Path(temporary) / str(number) for number in range(count)]
        for folder in folders:
            folder.mkdir()
            for name in COPIED:
                if (root / name).is_dir():
                    shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
                elif (root / name).exists():
                    shutil.copy(root / name, folder / name)
        yield folders


def check(mutations: Sequence[Mutation], folders: Sequence[Path]) -> None:
    """Raises Impossible unless the tests pass as the code is, and are of the copy."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    print(f"{len(tests)} tests without any mutation", flush=True)
    code, output = run(folders[0], tests)
    if code != 0:
        raise Impossible(f"{output}\nthe tests fail without any mutation (pytest ended with {code}); mend them first.")


def show(mutations: Sequence[Mutation], folders: Sequence[Path]) -> Iterator[Outcome]:
    """Each outcome, with its line on the screen, in the order of the list."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for folder in folders:
        free.put(folder)

    def work(mutation: Mutation) -> Outcome:
        folder = free.get()
        try:
            return attempt(mutation, folder)
        finally:
            free.put(folder)

    pool = ThreadPoolExecutor(len(folders))
    try:
        for number, outcome in enumerate(pool.map(work, mutations), start=1):
            own = outcome.mutation
            print(f"{number:3}/{len(mutations)}  {outcome.how:8}  {outcome.seconds:4.0f} s  {own.file}: {own.name}", flush=True)
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)  # where it is interrupted, what has not begun is left


def attempt(mutation: Mutation, folder: Path) -> Outcome:
    """Make the mistake, run the tests, take it back."""
    path, started = folder / mutation.file, time.monotonic()
    whole = path.read_text(encoding="utf-8")
    path.write_text(mutated(mutation, folder), encoding="utf-8")
    try:
        code, output = run(folder, mutation.tests)
    finally:
        path.write_text(whole, encoding="utf-8")
    # 1: a test failed; 2 to 5: pytest itself, which found no test or could not even import one
    how = SURVIVED if code == 0 else KILLED if code in (1, None) else BROKEN
    return Outcome(mutation, how, time.monotonic() - started, output)


def run(folder: Path, tests: Sequence[str]) -> tuple[int | None, str]:
    """pytest's exit code, None where it took too long, and the end of what it said."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", *(f"-pno:{name}" for name in LEFT_OUT), *tests]
    # no bytecode: a mutation of the same length, in the same second, would be taken for the file before
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return None, f"ended after {LONGEST:.0f} s"
    return done.returncode, "\n".join((done.stdout + done.stderr).splitlines()[-30:])


def summarise(outcomes: Sequence[Outcome]) -> int:
    """The totals, the survivors and what could not be tried; the exit code."""
    by = {how: [outcome for outcome in outcomes if outcome.how == how] for how in (KILLED, SURVIVED, BROKEN)}
    used = os.times()
    found = ", ".join(f"{len(own)} {how}" for how, own in by.items())
    seconds = used.children_user + used.children_system
    print(f"\n{len(outcomes)} mutations: {found} (processor: {seconds:.0f} s)")
    for outcome in by[BROKEN]:
        print(f"\n{outcome.mutation.name!r} leaves nothing that pytest can run:\n{outcome.output}")
    print("survivors: " + ("none" if not by[SURVIVED] else ""))
    for outcome in by[SURVIVED]:
        own = outcome.mutation
        print(f"  {own.file}: {own.name} ({own.why}); not noticed by {', '.join(own.tests)}")
    return 2 if by[BROKEN] else 1 if by[SURVIVED] else 0


def parts(test: str) -> tuple[str, str]:
    """File and function of a test as pytest names it."""
    file, _, name = test.partition("::")
    return file, re.sub(r"\[.*", "", name)


if __name__ == "__main__":
    sys.exit(main())
