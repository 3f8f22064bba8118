"""The ENN: one contract suite for all readers, the weight image against a slow loop, files that are damaged or hostile."""

import dataclasses
import errno
import json
import math
import random
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional as F

from pipeline.config import ENNConfig
from pipeline.enn import Critic, Home, files, load_critic, save_critic
from pipeline.enn.readers import READERS, Unreadable
from pipeline.enn.weight_image import canvas, decode, encode
from pipeline.errors import UserError
from pipeline.targets import MLP, initialise
from pipeline.targets.target import in_order, layers, of_kind

HOME = MLP((6, 8, 5, 3))
TARGETS = [
    HOME,
    MLP((6, 8, 5, 3), "tanh"),
    MLP((6, 20, 9, 3), "gelu"),
    MLP((6, 4, 2, 3), "sigmoid"),
    MLP((7, 8, 5, 4)),
    MLP((6, 7, 3)),
    MLP((6, 3)),
    MLP((6, 7, 6, 5, 3)),
]
READABLE = {
    "probes": lambda target: (target.widths[0], target.widths[-1]) == (6, 3),
    "convnet": lambda target: len(target.widths) == 4,
    "statistics": lambda target: len(target.widths) == 4,
}
"""which targets each reader promises to read; of one that is not entered here, those that its own ``check`` accepts"""
HOME_USE = {"steps": 100, "period": 10, "learning_rate": 0.1, "ladder": (0.0, 1.0, 3.0), "refresh": 5, "trust_region": 0.02}
REPOSITORY = Path(__file__).parents[1]


def make_critic(reader, target=HOME, dtype=torch.float64, **enn):
    torch.manual_seed(0)
    config = ENNConfig(**{"hidden": 8, "probes": 5, "resolution": 0.6, "width": 4} | enn)
    return Critic(reader, config, Home(target, **HOME_USE)).to(dtype)


def accepted(reader, target):
    try:
        make_critic(reader).reader.check(target)
    except Unreadable:
        return False
    return True


READABLE |= {reader: partial(accepted, reader) for reader in READERS if reader not in READABLE}
READABLE_PAIRS = [(reader, target) for reader in READERS for target in TARGETS if READABLE[reader](target)]


def weights_of(target, members=3, dtype=torch.float64):
    """He's weights with biases that are not 0, so that no reader meets a kink."""
    parameters = initialise(target, "he", range(members), dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    return [tensor + 0.1 * torch.randn(tensor.shape, generator=generator, dtype=dtype) for tensor in parameters]


def progress_of(members=3, dtype=torch.float64):
    return torch.linspace(0.1, 0.9, members, dtype=dtype)


# The contract of every reader


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_reads_the_target_that_it_learns_on(reader):
    assert READABLE[reader](HOME)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("reader", READERS)
def test_check_accepts_exactly_what_can_be_read(reader, target):
    critic, parameters = make_critic(reader), weights_of(target)
    if READABLE[reader](target):
        critic.reader.check(target)
        features = critic.reader.read(parameters, progress_of(), target.activation)
        assert features.shape == (3, critic.reader.features) and features.isfinite().all()
    else:
        with pytest.raises(Unreadable, match=r"layer ?\d"):
            critic.reader.check(target)
        with pytest.raises((RuntimeError, TypeError)):
            critic.value(parameters, progress_of(), target.activation)


@pytest.mark.parametrize(("reader", "target"), READABLE_PAIRS, ids=str)
def test_features_have_the_gradients_of_finite_differences(reader, target):
    critic, parameters, at = make_critic(reader), weights_of(target), progress_of()
    weights = torch.randn(critic.reader.features, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def read(tensors):
        return critic.reader.read(tensors, at, target.activation) @ weights

    leaves = [tensor.clone().requires_grad_() for tensor in parameters]
    gradients = torch.autograd.grad(read(leaves).sum(), leaves)
    for index, gradient in enumerate(gradients):
        assert (gradient.flatten(1).norm(dim=1) > 0).all(), f"{target.names[index]} is not read"
        for coordinate in random.Random(index).sample(range(gradient[0].numel()), min(3, gradient[0].numel())):
            moved = []
            for sign in (1, -1):
                tensors = [tensor.clone() for tensor in parameters]
                tensors[index].flatten(1)[:, coordinate] += sign * 1e-6
                moved.append(read(tensors))
            expected = (moved[0] - moved[1]) / 2e-6
            torch.testing.assert_close(gradient.flatten(1)[:, coordinate], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("reader", "target"), READABLE_PAIRS, ids=str)
def test_a_member_is_read_as_if_it_were_alone(reader, target):
    critic, parameters, at = make_critic(reader), weights_of(target), progress_of()
    together = critic.reader.read(parameters, at, target.activation)
    for member in range(3):
        own = [tensor[member : member + 1] for tensor in parameters]
        alone = critic.reader.read(own, at[member : member + 1], target.activation)
        torch.testing.assert_close(together[member], alone[0], rtol=1e-12, atol=1e-14)
    for bad in (math.nan, math.inf, 1e6):
        disturbed = [tensor.clone() for tensor in parameters]
        for tensor in disturbed:
            tensor[1] = bad
        beside = critic.reader.read(disturbed, at, target.activation)
        torch.testing.assert_close(beside[[0, 2]], together[[0, 2]], rtol=1e-12, atol=1e-14)
    assert (together[0] - together[1]).norm() > 1e-3, "members look alike"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("reader", "target"), READABLE_PAIRS, ids=str)
def test_value_and_its_gradient_stay_bounded_on_absurd_weights(reader, target, dtype):
    critic, at = make_critic(reader, dtype=dtype), progress_of(dtype=dtype)
    for factor in (0.0, 1e-6, 1.0, 1e6, -1e6):
        leaves = [(factor * tensor).requires_grad_() for tensor in weights_of(target, dtype=dtype)]
        value = critic.value(leaves, at, target.activation)
        assert value.shape == (3,) and ((value >= 0) & (value <= 1)).all()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value.sum(), leaves))
        assert critic.q_values(leaves, at, target.activation).clamp(0, 1).isfinite().all()


@pytest.mark.parametrize("reader", READERS)
def test_every_weight_of_an_enn_learns_from_q(reader):
    """Also the probes: inputs that stay where they were drawn make a poorer reader of the same size."""
    critic = make_critic(reader)
    critic.q_values(weights_of(HOME), progress_of()).sum().backward()
    still = {name for name, weight in critic.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert still == {"strength_weight", "strength_bias"}, "which are no part of RL"


@pytest.mark.parametrize("reader", READERS)
def test_progress_and_weights_matter(reader):
    critic, parameters = make_critic(reader), weights_of(HOME)
    early, late = (critic.value(parameters, torch.full((3,), at, dtype=torch.float64)) for at in (0.0, 1.0))
    assert ((early - late).abs() > 1e-5).all()
    others = critic.value([2 * tensor for tensor in parameters], torch.zeros(3, dtype=torch.float64))
    assert ((early - others).abs() > 1e-5).all()


# Readers: what each sees


def permuted(parameters, layer, order):
    """The same function where ``layer`` is hidden: its units in another order. Another function where it is the last."""
    pairs = layers(parameters, HOME.slots)
    pairs[layer] = tuple(tensor[:, order] for tensor in pairs[layer])
    if layer + 1 < len(pairs):
        weight, bias = pairs[layer + 1]
        pairs[layer + 1] = weight[:, :, order], bias
    return in_order(pairs, HOME.slots)


NOTICES = {"probes": (False, True), "convnet": (True, True), "statistics": (False, False)}


@pytest.mark.parametrize("reader", NOTICES)
def test_who_notices_that_hidden_units_changed_places(reader):
    """Probes see the function and statistics no order; the convnet sees the order, which means nothing to the target."""
    critic, parameters = make_critic(reader, hidden=32), weights_of(HOME)
    before = critic.reader.read(parameters, progress_of())
    hidden = permuted(permuted(parameters, 0, [3, 1, 7, 0, 2, 6, 5, 4]), 1, [4, 2, 0, 3, 1])
    outputs = permuted(parameters, 2, [1, 2, 0])
    changes = [(critic.reader.read(moved, progress_of()) - before).norm() / before.norm() for moved in (hidden, outputs)]
    for change, noticed in zip(changes, NOTICES[reader], strict=True):
        assert change > 1e-3 if noticed else change < 1e-12


@pytest.mark.parametrize("target", [target for target in TARGETS if READABLE["probes"](target)], ids=str)
def test_probes_read_what_a_module_says_about_them(target):
    critic, parameters = make_critic("probes"), weights_of(target)
    critic.reader.start_from(torch.randn(5, 6, dtype=torch.float64))
    features = critic.reader.read(parameters, progress_of(), target.activation)
    for member in range(3):
        logits = target.module([tensor[member] for tensor in parameters])(critic.reader.probes)
        expected = 1 - torch.log(1 - torch.log(logits.softmax(1)))
        torch.testing.assert_close(features[member, :-1], expected.flatten(), rtol=1e-10, atol=1e-12)


def test_statistics_are_numpys():
    parameters = weights_of(HOME)
    features = make_critic("statistics").reader.read(parameters, progress_of())
    for index, tensor in enumerate(parameters):
        values = tensor[1].numpy() * math.sqrt(HOME.slots[index].fan_in / 2)
        expected = [values.mean(), math.log(values.var() + 1e-6) / 10]
        expected += [float(torch.from_numpy(values).flatten().quantile(q)) for q in (0, 0.25, 0.5, 0.75, 1)]
        assert features[1, 1 + 7 * index : 8 + 7 * index].tolist() == pytest.approx(expected, rel=1e-12)


# The weight image


def area_by_hand(matrix, size):
    """Each pixel the mean over its rectangle, whole entries at the rims (as in adaptive average pooling)."""
    image = torch.empty(size, dtype=matrix.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            rows = range(i * len(matrix) // size[0], -(-(i + 1) * len(matrix) // size[0]))
            columns = range(j * matrix.shape[1] // size[1], -(-(j + 1) * matrix.shape[1] // size[1]))
            image[i, j] = sum(matrix[r, c] for r in rows for c in columns) / (len(rows) * len(columns))
    return image


@pytest.mark.parametrize("interpolation", ["area", "bilinear"])
@pytest.mark.parametrize("size", [(4, 3), (3, 4), (8, 6), (5, 11), (1, 1)], ids=str)
def test_weight_image_equals_a_slow_reference(size, interpolation):
    """Layers of (8, 6) and (3, 9) with the bias: divided evenly, unevenly, kept and enlarged."""
    parameters = weights_of(MLP((5, 8, 3)), members=2)
    images = {
        channels: encode(parameters, MLP((5, 8, 3)).slots, size, interpolation, channels)
        for channels in ("signed", "magnitude", "both")
    }
    assert [tuple(image.shape) for image in images.values()] == [(2, 2, *size), (2, 2, *size), (2, 4, *size)]
    for member in range(2):
        for layer in range(2):
            weight, bias = (tensor[member] for tensor in layers(parameters, MLP((5, 8, 3)).slots)[layer])
            matrix = torch.cat([weight, bias[:, None]], 1) / math.sqrt(2 / weight.shape[1])
            for channel, (name, source) in enumerate({"signed": matrix, "magnitude": matrix.abs()}.items()):
                if interpolation == "area":
                    expected = area_by_hand(source, size)
                else:
                    expected = F.interpolate(source[None, None], size, mode="bilinear", antialias=True)[0, 0]
                torch.testing.assert_close(images[name][member, layer], expected, rtol=1e-12, atol=1e-12)
                torch.testing.assert_close(images["both"][member, 2 * layer + channel], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("interpolation", ["area", "bilinear"])
def test_weight_image_has_the_gradients_of_finite_differences(interpolation):
    target = MLP((3, 4, 2))
    leaves = [tensor.requires_grad_() for tensor in weights_of(target, members=2)]
    assert torch.autograd.gradcheck(lambda *tensors: encode(tensors, target.slots, (3, 2), interpolation, "both"), leaves)


@pytest.mark.parametrize("interpolation", ["area", "bilinear"])
def test_full_resolution_of_one_layer_is_the_matrix_itself(interpolation):
    weight, bias = weights_of(MLP((7, 4)), members=2)
    size = canvas([(4, 7)], 1.0)
    image = encode([weight, bias], MLP((7, 4)).slots, size, interpolation, "signed")
    assert size == (4, 8)
    torch.testing.assert_close(image[:, 0], torch.cat([weight, bias[..., None]], 2) * math.sqrt(3.5), rtol=1e-14, atol=0)


def test_canvas_is_the_largest_layer_made_smaller():
    target = MLP((784, 100, 50, 10))
    shapes = of_kind(target.shapes, target.slots, "weight")
    assert canvas(shapes, 0.15) == (15, 118) and canvas(shapes, 1.0) == (100, 785) and canvas(shapes, 1e-9) == (1, 1)
    for resolution in (0.0, -0.1, 1.0001, math.nan, math.inf):
        with pytest.raises(ValueError, match="resolution"):
            canvas(shapes, resolution)


@pytest.mark.parametrize("interpolation", ["area", "bilinear"])
@pytest.mark.parametrize("size", [(3, 4), (8, 6), (9, 13)], ids=str)
def test_decode_carries_pixels_back_to_what_they_read(size, interpolation):
    """The adjoint of encode, by its whole Jacobian, normalised so that a constant stays one."""
    parameters, shape = weights_of(MLP((5, 8)), members=1), (8, 6)
    torch.testing.assert_close(decode(torch.full(size, 2.5), shape, interpolation), torch.full(shape, 2.5))

    def image(matrix):
        return encode([matrix[None, :, :-1], matrix[None, :, -1]], MLP((5, 8)).slots, size, interpolation, "signed")[0, 0]

    jacobian = torch.autograd.functional.jacobian(image, torch.cat([parameters[0][0], parameters[1][0][:, None]], 1))
    pixels = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = torch.einsum("hw,hwrc->rc", pixels, jacobian) / jacobian.sum((0, 1))
    torch.testing.assert_close(decode(pixels, shape, interpolation), expected, rtol=1e-10, atol=1e-12)
    for i, j in ((0, 0), (size[0] - 1, size[1] - 1), (1, 2)):
        spot = torch.zeros(size, dtype=torch.float64)
        spot[i, j] = 1
        assert torch.equal(decode(spot, shape, interpolation) != 0, jacobian[i, j] != 0)


# The critic


def test_the_value_is_that_of_the_greedy_policy():
    critic, parameters = make_critic("probes"), weights_of(HOME)
    value, q = critic.value(parameters, progress_of()), critic.q_values(parameters, progress_of())
    assert q.shape == (3, 3) and q.std(1).min() > 1e-4
    assert torch.equal(q.max(1).values, value)


def test_one_level_that_ruins_a_run_does_not_lower_the_value():
    """By hand: of four levels three are good and one ruins the run: V is the best one's Q, .92; the mean in logits is .48."""
    levels = torch.tensor([0.88, 0.90, 0.92, 0.001], dtype=torch.float64)
    assert levels.logit().mean().sigmoid().item() == pytest.approx(0.483, abs=0.001)
    home = dataclasses.replace(make_critic("probes").home, ladder=(0.0, 1.0, 3.0, 10.0))
    critic = Critic("probes", ENNConfig(hidden=2, probes=3), home).double()
    with torch.no_grad():
        critic.value_head.weight.zero_()
        critic.advantage_head.weight.zero_()
        critic.value_head.bias.fill_(levels.max().logit())
        critic.advantage_head.bias.copy_(levels.logit() + 5)
    hidden = torch.zeros(1, 2, dtype=torch.float64)
    torch.testing.assert_close(critic._q(hidden)[0], levels)
    assert critic.value_from(hidden).item() == pytest.approx(0.92)


def test_strengths_are_the_best_level_or_the_fixed_one():
    critic, parameters = make_critic("probes"), weights_of(HOME, members=20)
    arguments = (parameters, progress_of(20))
    own = critic.strengths(*arguments)
    best = [critic.home.ladder[row.index(max(row))] for row in critic.q_values(*arguments).tolist()]
    assert own.tolist() == best and not own.requires_grad
    with torch.no_grad():
        critic.advantage_head.weight.zero_()
    for level, strength in enumerate(critic.home.ladder):
        critic.advantage_head.bias.data = torch.eye(3, dtype=torch.float64)[level]
        assert critic.strengths(*arguments).tolist() == [strength] * 20
    fixed = critic.with_strength(7.5)
    assert fixed.strengths(*arguments).tolist() == [7.5] * 20 and critic.home.strength == -1
    assert torch.equal(fixed.value(*arguments), critic.value(*arguments))
    assert fixed.with_strength(-1.0).strengths(*arguments).tolist() == [3.0] * 20
    assert critic.with_strength(0.0).strengths(*arguments).tolist() == [0.0] * 20, "switched off, it instructs"


# Files


def saved(folder, reader="convnet", **enn):
    path = folder / f"{reader}.safetensors"
    critic = make_critic(reader, dtype=torch.float32, **enn)
    save_critic(critic, path, {"rounds": 3})
    return path, critic


def same(one, other):
    return (
        (one.reader_name, one.config, one.home) == (other.reader_name, other.config, other.home)
        and one.state_dict().keys() == other.state_dict().keys()
        and all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
    )


def test_a_saved_enn_gives_the_same_values_in_a_fresh_process_without_ray(tmp_path):
    expected = {}
    for reader in READERS:
        path, critic = saved(tmp_path, reader)
        assert same(load_critic(path), critic)
        expected[reader] = critic.value(weights_of(HOME, dtype=torch.float32), progress_of(dtype=torch.float32)).tolist()
    (tmp_path / "weights").write_bytes(save({str(i): t for i, t in enumerate(weights_of(HOME, dtype=torch.float32))}))
    script = f"""
        import json, sys, torch
        from pathlib import Path
        from safetensors.torch import load
        from pipeline.enn import load_critic
        folder = Path({str(tmp_path)!r})
        tensors = load((folder / "weights").read_bytes())
        parameters, at = [tensors[str(i)] for i in range(6)], torch.linspace(0.1, 0.9, 3)
        critics = {{reader: load_critic(folder / (reader + ".safetensors")) for reader in {list(READERS)}}}
        print(json.dumps({{reader: critic.value(parameters, at).tolist() for reader, critic in critics.items()}}))
        assert "ray" not in sys.modules and "rl" not in sys.modules
    """
    assert json.loads(run_python(script)) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["weights", *(f"{reader}.{kind}" for reader in READERS for kind in ("json", "safetensors"))]
    ), "temporary files were left"


def run_python(script):
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails_in_one_sentence(path):
    with pytest.raises(UserError) as caught:
        load_critic(path)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message and path.stem in message and ";" in message
    return message


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot read the ENN"),
        (lambda path: path.with_suffix(".json").unlink(), "an ENN is two files"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.with_suffix(".json").write_text(path.with_suffix(".json").read_text()[:200]), "not JSON"),
        (lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe{}"), "not JSON"),
        (lambda path: path.with_suffix(".json").write_text("[" * 100_000), "not JSON"),
        (lambda path: path.with_suffix(".json").write_text("[1]"), "format"),
        (lambda path: path.with_suffix(".json").write_text('{"format": 2}'), "damaged"),
        (lambda path: edit(path, lambda d: d.update(format=1), sign=False), "format"),
        (lambda path: edit(path, lambda d: d["home"].update(refresh=50), sign=False), "damaged"),
        (lambda path: edit(path, lambda d: d.pop("sha256"), sign=False), "damaged"),
        (lambda path: saved(path.parent, "probes")[0].with_suffix(".json").replace(path.with_suffix(".json")), "belong"),
    ],
)
def test_damaged_files_are_refused(tmp_path, damage, message):
    path, _ = saved(tmp_path)
    damage(path)
    assert message in fails_in_one_sentence(path)


def edit(path, change, sign=True, weights=None):
    """Change the description and, as somebody who wants to be believed would, make its checksum right."""
    description = json.loads(path.with_suffix(".json").read_text())
    change(description)
    path.write_bytes(path.read_bytes() if weights is None else weights)
    if sign:
        description["sha256"] = files._checksum(path.read_bytes(), description)
    path.with_suffix(".json").write_text(json.dumps(description))


HOSTILE = {
    "unknown reader": {"reader": "oracle"},
    "reader is a list": {"reader": ["convnet"]},
    "another reader": {"reader": "statistics"},
    "settings are a list": {"enn": [1, 2]},
    "unknown setting": {"enn.temperature": 1},
    "setting of the wrong type": {"enn.hidden": "8"},
    "other width": {"enn.width": 5},
    "negative width": {"enn.width": -4},
    "no resolution": {"enn.resolution": 0.0},
    "more memory than there is": {"enn.hidden": 10**13},
    "much memory for nothing": {"enn.hidden": 4 * 10**6},
    "more than a number holds": {"enn.hidden": 10**30},
    "a million years to build": {"enn.depth": 10**15},
    "no target": {"home.target": None},
    "no widths": {"home.target.widths": []},
    "widths are text": {"home.target.widths": ["6", "8", "5", "3"]},
    "widths are fractions": {"home.target.widths": [6.5, 8.5, 5.5, 3.5]},
    "other depth": {"home.target.widths": [6, 8, 3]},
    "unknown activation": {"home.target.activation": "swish"},
    "division by zero": {"home.refresh": 0},
    "a period of text": {"home.period": "10"},
    "other number of levels": {"home.ladder": [0.0, 1.0]},
    "levels are text": {"home.ladder": ["0", "1", "3"]},
    "not a number": {"home.learning_rate": math.nan},
    "unknown use": {"home.colour": 1},
    "strength is none": {"home.strength": None},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_signed_nonsense_is_refused(tmp_path, name):
    path, _ = saved(tmp_path)

    def change(description):
        for key, value in HOSTILE[name].items():
            *folders, last = key.split(".")
            for folder in folders:
                description = description[folder]
            description[last] = value

    edit(path, change)
    started = time.thread_time()
    wanted = "it is not JSON" if name == "not a number" else "does not describe an ENN"
    assert wanted in fails_in_one_sentence(path)
    assert time.thread_time() - started < 0.5, "it was built first"


def test_signed_weights_that_do_not_fit_are_refused(tmp_path):
    path, critic = saved(tmp_path)
    tensors = load(path.read_bytes())
    first = "hidden.0.weight"
    for weights in (
        b"\x80\x04K*.",  # a pickle
        (2**60).to_bytes(8, "little") + b"{}",
        save({}),
        save({name: tensor for name, tensor in tensors.items() if name != first}),
        save(tensors | {"extra": torch.zeros(1)}),
        save(tensors | {first: tensors[first].flatten()}),
        save(tensors | {first: tensors[first].long()}),
        save(tensors | {first: tensors[first].double()}),
    ):
        edit(path, lambda description: None, weights=weights)
        assert "does not describe an ENN" in fails_in_one_sentence(path)
    edit(path, lambda description: None, weights=save(tensors))
    assert same(load_critic(path), critic)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_any_damage_is_noticed_or_harmless(tmp_path, suffix):
    path, critic = saved(tmp_path)
    file, chance, refused = path.with_suffix(suffix), random.Random(0), 0
    whole = file.read_bytes()
    for trial in range(250):
        place = chance.randrange(len(whole)) if trial else 0
        flipped = bytes([whole[place] ^ 1 << chance.randrange(8)])
        file.write_bytes([whole[:place], whole[:place] + flipped + whole[place + 1 :]][trial % 5 > 0])
        try:
            assert same(load_critic(path), critic), f"a change at {place} went unnoticed"
        except UserError:
            refused += 1
    assert refused > 200


def test_a_full_disk_leaves_the_old_enn(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path, critic = saved(tmp_path)
    monkeypatch.setattr("pipeline.files.os.fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        save_critic(make_critic("convnet", width=5), path, {})
    assert same(load_critic(path), critic) and len(list(tmp_path.iterdir())) == 2


# The core


def test_the_core_needs_torch_numpy_and_jaxtyping_only():
    run_python("""
        import importlib.abc, sys
        import jaxtyping, numpy, torch

        OF_TORCH = {"typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "filelock", "fsspec", "triton",
                    "setuptools", "functorch", "torchgen", "nvidia", "cuda", "wadler_lindig"}
        ALLOWED = {"torch", "numpy", "jaxtyping", "pipeline"} | OF_TORCH | set(sys.stdlib_module_names)

        class BareMachine(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] not in ALLOWED:
                    raise ModuleNotFoundError(f"No module named {name!r} on a bare machine", name=name)

        sys.meta_path.insert(0, BareMachine())
        from pipeline.config import ENNConfig
        from pipeline.enn import Critic, Home
        from pipeline.enn.readers import READERS
        from pipeline.instruction import L1, L2, Backprop, Growth, Instruct, Instructor, RandomPush
        from pipeline.instruction.loop import train
        from pipeline.targets import MLP, Batches, Population, initialise

        target, x, y = MLP((6, 5, 3)), torch.rand(40, 6), torch.randint(3, (40,))
        home = Home(target, 4, 2, 0.1, (0.0, 1.0), 2, 0.02, strength=1.0)
        critics = {name: Critic(name, ENNConfig(hidden=4, probes=3), home) for name in READERS}
        lambdas = torch.full((2,), 0.1)
        rules = [Backprop(), L1(lambdas), L2(lambdas), Growth(), RandomPush([0, 1])]
        for rule in [*rules, *(Instruct(critic, 4, 0.1) for critic in critics.values())]:
            population = Population(target, initialise(target, "he", [0, 1]))
            train(population, rule, Batches(x, y, 8, [0, 1], False), 4, 2, (x, y), critics)
        model = target.module()
        Instructor(critics["probes"]).instruct(model)
        assert model[0].weight.grad.abs().sum() > 0
        parts = {name for name in sys.modules if name.startswith("pipeline.") and name.count(".") == 1}
        core = ("addresses", "arms", "config", "digests", "enn", "errors", "files", "instruction", "learning", "names",
                "received", "seeding", "targets")
        assert parts == {"pipeline." + part for part in core}, parts
    """)


def test_home_survives_json_as_it_is():
    """Every field of Home is of a type that JSON gives back."""
    home = dataclasses.asdict(make_critic("probes").home)
    assert json.loads(json.dumps(home)) == home | {
        "ladder": list(home["ladder"]),
        "target": home["target"] | {"widths": list(HOME.widths)},
    }
