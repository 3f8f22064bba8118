"""Files that survive faults, records that are replayed, statistics against scipy and known values, tables."""

import ast
import io
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.compare.report import head_to_head
from pipeline.errors import UserError
from pipeline.files import read_json, read_tensors, write_atomic, write_json, write_tensors
from pipeline.results.provenance import PACKAGE, commit, provenance
from pipeline.results.records import Records
from pipeline.results.statistics import holm, mean_interval, paired, rank_correlation
from pipeline.results.tables import corrected, head_to_head_line, markdown, prediction_line, report_rows, rich_table

ROOT = Path(__file__).parent.parent


def test_files_come_back_as_written(tmp_path):
    square = torch.arange(12.0).reshape(3, 4)
    tensors = {"whole": square, "turned": square.T, "part": square[1], "half": torch.ones(3, dtype=torch.float16)}
    write_tensors(tmp_path / "new" / "t.safetensors", tensors, {"round": "1"})
    back = read_tensors(tmp_path / "new" / "t.safetensors")
    assert back.keys() == tensors.keys() and all(torch.equal(back[name], tensors[name]) for name in tensors)
    write_json(tmp_path / "v.json", {"a": np.float32(0.5), "b": np.arange(3), "c": tmp_path, "d": torch.tensor(2)})
    assert read_json(tmp_path / "v.json") == {"a": 0.5, "b": [0, 1, 2], "c": str(tmp_path), "d": 2}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "t.safetensors", "v.json"]


def test_a_file_is_replaced_and_never_written_over(tmp_path):
    write_atomic(tmp_path / "file", "old")
    os.link(tmp_path / "file", tmp_path / "reader")  # whoever has the old file open keeps it whole
    write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "reader").read_text() == "old" and (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: b"\xff\xfe", lambda _: b""]
)
def test_damaged_files_are_named(tmp_path, damage):
    write_json(tmp_path / "a.json", {"value": [1, 2]})
    write_tensors(tmp_path / "b.safetensors", {"x": torch.ones(5)})
    for name, read in (("a.json", read_json), ("b.safetensors", read_tensors)):
        path = tmp_path / name
        path.write_bytes(damage(path.read_bytes().strip()))
        with pytest.raises(UserError, match=rf"{name} is truncated or corrupt; delete it"):
            read(path)
    with pytest.raises(UserError, match="cannot read"):
        read_json(tmp_path / "absent.json")


def test_numbers_that_are_not_finite_are_null_and_come_back_as_asked(tmp_path):
    values = {"a": [math.nan, 1.5, None], "b": np.array([np.inf, 2.0]), "c": torch.tensor(-math.inf), 3: (np.float32("nan"),)}
    write_json(tmp_path / "v.json", values)
    assert json.loads((tmp_path / "v.json").read_text(), parse_constant=pytest.fail)
    assert read_json(tmp_path / "v.json") == {"a": [None, 1.5, None], "b": [None, 2.0], "c": None, "3": [None]}
    back = read_json(tmp_path / "v.json", math.nan)
    assert np.isnan([*back["a"][::2], back["b"][0], back["c"], *back["3"]]).all() and back["b"][1] == 2.0


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_only_python_takes_for_json_is_refused(tmp_path, constant):
    (tmp_path / "v.json").write_text(f'{{"loss": [0.5, {constant}]}}')
    with pytest.raises(UserError, match=r"v\.json is truncated or corrupt"):
        read_json(tmp_path / "v.json")


COMMITTED = [path for part in ("benchmarks", "pipeline", "notebooks", "cluster", "tests") for path in (ROOT / part).rglob("*")]
COMMITTED = [path for path in COMMITTED if path.suffix in (".json", ".ipynb") and "runs" not in path.parts]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_what_is_committed_is_json(path):
    read_json(path)


def test_there_is_one_writer_of_json():
    """Others would write NaN; a text of JSON that goes elsewhere than into a file is nobody's business."""
    writers = ("write_text", "write_atomic", "write_bytes", "write", "writelines")
    for path in (path for part in ("benchmarks", "pipeline", "rl") for path in (ROOT / part).rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            assert name != "json.dump", path
            if name.rsplit(".", 1)[-1] in writers and (path.name, name) != ("files.py", "write_atomic"):
                assert "json.dumps" not in "".join(map(ast.unparse, call.args)), (path, call.lineno)


_WRITE_MUCH = """
import resource, sys
from pathlib import Path
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.results.records import Records
path, limit = Path(sys.argv[1]), int(sys.argv[2])
records = Records(path.parent)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for write in (lambda: write_atomic(path, b"n" * 1_000_000), lambda: records.append("much", text="n" * 1_000_000)):
    try:
        write()
    except UserError as error:
        print(error)
records.append("little")
"""


def _fill(path: Path, limit: int) -> None:
    """Write too much, in another process; what was there stays, and the user is told."""
    path.write_bytes(b"earlier")
    Records(path.parent).append("first")
    command = [sys.executable, "-c", _WRITE_MUCH, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the disk is full") == 2 and "give the same command again" in done.stdout
    assert path.read_bytes() == b"earlier"
    assert [event["kind"] for event in Records(path.parent).events] == ["folder", "first", "little"]
    assert sorted(os.listdir(path.parent)) == ["file", "records.jsonl"]


def test_a_file_size_limit_leaves_the_earlier_file_whole(tmp_path):
    _fill(tmp_path / "file", limit=100_000)


def test_a_full_disk_leaves_the_earlier_file_whole(tmp_path):
    mount = shutil.which("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        _fill(disk / "file", limit=0)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another output folder"):
        write_atomic(tmp_path / "file" / "inner", "x")
    with pytest.raises(UserError, match="choose another output folder"):
        Records(tmp_path / "file").append("event")


def _tell(records: Records) -> None:
    """A short run, told in full."""
    (records.folder / "figure.png").write_bytes(b"png")
    records.start("run", "main", None, {"a.b": (1, 2)}, {"commit": "c"})
    records.dataset("run", "digits", "abc", {"train": 10})
    records.start("run/train", "train", "run", {"rate": 0.1}, {})
    for step in range(3):
        records.metrics("run/train", step, {"loss": np.float32(1 / (step + 1)), "bad": math.nan})
    records.series("run/train", "accuracy", [0, 1], [0.5, math.inf])
    records.image("run/train", "figure.png", "map", 3)
    records.artifact("run", "figure.png", "figures")
    records.result("run/train", {"accuracy": 0.9, "arm": "l1"})
    records.end("run/train", "FINISHED")


def test_what_is_told_twice_is_written_once(tmp_path):
    records = Records(tmp_path)
    _tell(records)
    first = list(records.events)
    assert [event["n"] for event in first] == list(range(len(first)))
    again = Records(tmp_path)
    assert again.events == first and again.folder_id == records.folder_id
    again.start("run", "main", None, {"a.b": (1, 2)}, {"commit": "c"})
    again.metrics("run/train", 1, {"bad": 0.0, "loss": 9.0})
    again.series("run/train", "accuracy", [0, 1], [0.5, 0.5])
    again.artifact("run", "figure.png", "figures")
    assert again.events == first
    _tell(again)  # opens the ended child again, and ends it
    assert [event["kind"] for event in again.events[len(first) :]] == ["start", "end"]
    assert again.running() == ["run"]
    (tmp_path / "figure.png").write_bytes(b"another")
    again.artifact("run", "figure.png", "figures")
    again.metrics("run/train", 1, {"loss": 9.0})
    kinds = [event["kind"] for event in again.events]
    assert kinds[-2:] == ["artifact", "metrics"] and kinds.count("artifact") == 1
    with pytest.raises(ValueError, match="never started"):
        again.metrics("run/other", 1, {"loss": 1.0})


def test_what_is_done_again_replaces_what_was_recorded_of_it(tmp_path, monkeypatch):
    records = Records(tmp_path)
    _tell(records)
    first, data, replace = list(records.events), records.path.read_bytes(), os.replace
    assert not records.differs("series", "run/train", name="accuracy", values=[0.5, math.inf])
    assert records.differs("series", "run/train", name="accuracy", values=[0.5, 0.6])
    assert not records.differs("series", "run/train", name="another", values=[0.5])

    def killed(*_):
        raise KeyboardInterrupt

    for step in (killed, replace):
        monkeypatch.setattr(os, "replace", step)
        if step is killed:
            with pytest.raises(KeyboardInterrupt):
                Records(tmp_path).anew("run/train")
            assert records.path.read_bytes() == data and sorted(os.listdir(tmp_path)) == ["figure.png", "records.jsonl"]
    records = Records(tmp_path)
    records.anew("run/train")
    with pytest.raises(ValueError, match="never started"):
        records.end("run/train", "FINISHED")
    _tell(records)
    events = Records(tmp_path).events
    assert events == records.events and [event["n"] for event in events] == list(range(len(events)))
    told = [{key: value for key, value in event.items() if key not in ("n", "time")} for event in events]
    before = [{key: value for key, value in event.items() if key not in ("n", "time")} for event in first]
    assert sorted(map(str, told)) == sorted([*map(str, before), str({"kind": "anew", "run": "run/train"})])
    with pytest.raises(UserError, match="replaced while it was in use"):
        late = Records(tmp_path)
        records.anew("run/train")
        late.end("run", "FINISHED")


def test_records_are_json_to_every_reader(tmp_path):
    _tell(Records(tmp_path))

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    events = [json.loads(line, parse_constant=refuse) for line in lines]
    assert next(event for event in events if event["kind"] == "metrics")["values"] == {"loss": 1.0, "bad": None}


def test_every_place_to_be_cut_at_is_survived(tmp_path):
    _tell(Records(tmp_path))
    path = tmp_path / "records.jsonl"
    data = path.read_bytes()
    start = data.rindex(b"\n", 0, -1) + 1
    whole = len(data.splitlines()) - 1
    for end in {start, start + 1, len(data) - 20, len(data) - 1}:
        path.write_bytes(data[:end])
        records = Records(tmp_path)
        assert len(records.events) == whole and path.read_bytes() == data[:end]  # reading changes nothing
        records.append("next")
        assert [event["n"] for event in Records(tmp_path).events] == list(range(whole + 1))


@pytest.mark.parametrize("damage", [b"{}", b"\x00\x00", b'{"n": 3, "kind"', b'{"n": 1, "kind": "x"}', b"\r"])
def test_a_corrupt_line_in_the_middle_is_named(tmp_path, damage):
    _tell(Records(tmp_path))
    path = tmp_path / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[3] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(UserError, match=r"line 4 of .*records\.jsonl is corrupt"):
        Records(tmp_path)


def test_two_writers_number_their_events_as_one(tmp_path):
    one, two = Records(tmp_path), Records(tmp_path)
    for number in range(5):
        one.append("one", number=number)
        two.append("two", number=number)
    events = Records(tmp_path).events
    assert [event["n"] for event in events] == list(range(11)) and two.events == events
    assert [event["kind"] for event in events] == ["folder", *["one", "two"] * 5]


def test_provenance_names_this_commit_and_no_other(tmp_path):
    said = provenance("grad-instructor run", 3)
    assert said["seed"] == 3 and said["torch"].startswith(torch.__version__.split("+")[0]) and said["hardware"]["cores"] >= 1
    json.dumps(said)
    package = tmp_path / ".venv" / "pipeline"
    package.mkdir(parents=True)
    assert commit(package) == "unknown"
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "m", "--allow-empty"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    assert commit(package) == "unknown"  # installed inside another repository
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "tracked").write_text("a")
    assert len(commit(tmp_path / "pipeline")) == 40  # an untracked file is no change
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert commit(tmp_path / "pipeline").endswith("-dirty")
    found = tmp_path / "benchmarks" / "results" / "found.json"
    found.parent.mkdir(parents=True)
    for text in ("1", "2"):
        found.write_text(text)
        if text == "1":
            subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
            subprocess.run(["git", *identity, "commit", "-qm", "m"], cwd=tmp_path, check=True)
    assert len(commit(tmp_path / "pipeline")) == 40  # what a benchmark found before is no change of the code
    (tmp_path / "tracked").write_text("b")
    assert commit(tmp_path / "pipeline").endswith("-dirty")


def test_an_interval_holds_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        _, low, high = mean_interval(draws.normal(1.0, 0.1, size=20).tolist())
        hits += low <= 1.0 <= high
    assert 0.88 <= hits / 200 <= 0.98
    values = draws.normal(size=12).tolist()
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, 0.5)[1] > mean_interval(values, 0.95)[1]
    assert mean_interval([0.3, 0.3, 0.3]) == (pytest.approx(0.3),) * 3
    assert mean_interval([0.3])[0] == 0.3 and math.isnan(mean_interval([0.3])[1])
    assert math.isnan(mean_interval([0.3, math.nan])[0])


def test_pairing_is_used():
    draws = np.random.default_rng(1)
    baseline = draws.normal(0.9, 0.05, size=10)
    values = baseline + 0.01 + draws.normal(0, 0.002, size=10)
    said, shuffled = paired(values.tolist(), baseline.tolist()), paired(np.roll(values, 3).tolist(), baseline.tolist())
    assert said["p"] == pytest.approx(stats.ttest_rel(values, baseline).pvalue) and said["p"] < 0.001
    assert said["low"] < 0.01 < said["high"] and said["high"] - said["low"] < 0.004
    assert shuffled["difference"] == pytest.approx(said["difference"])
    assert shuffled["p"] > 0.1 and shuffled["high"] - shuffled["low"] > 10 * (said["high"] - said["low"])


def test_equal_differences():
    assert paired([0.5, 0.6], [0.5, 0.6]) == {"difference": 0, "low": 0, "high": 0, "p": 1.0, "n": 2, "test": "none"}
    assert paired([0.5 + 0.25, 0.25 + 0.25, 1.25], [0.5, 0.25, 1.0])["p"] == 2 / 8
    with pytest.raises(ValueError, match="paired"):
        paired([1.0, 2.0], [1.0])


def test_holm_equals_the_formula_worked_by_hand():
    """Of four tests: 0.01 · 4, then 0.02 · 3 = 0.06, then 0.03 · 2 = 0.06 (no smaller than the one before), then 0.5 · 1."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06]), "the larger p is raised to the smaller one's correction"
    assert holm([0.4, 0.7]) == pytest.approx([0.8, 0.8]) and holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
    with_gaps = holm([None, 0.01, math.nan, 0.02])
    assert np.isnan([with_gaps[0], with_gaps[2]]).all() and [with_gaps[1], with_gaps[3]] == pytest.approx([0.02, 0.02])


def test_holm_is_never_below_p_keeps_the_order_and_is_the_slow_definition():
    draws = np.random.default_rng(5)
    for count in (1, 2, 7, 30):
        p = (draws.random(count) ** 3).round(2).tolist()  # with ties
        found = holm(p)
        assert all(p_i <= found_i <= 1 for p_i, found_i in zip(p, found, strict=True))
        assert all(a <= b for p_i, a in zip(p, found, strict=True) for p_j, b in zip(p, found, strict=True) if p_i <= p_j)
        ordered = sorted(p)
        slow = {q: min(1, max((count - j) * ordered[j] for j in range(count) if ordered[j] <= q)) for q in p}
        assert found == pytest.approx([slow[q] for q in p])
        order = draws.permutation(count)
        assert holm([p[i] for i in order]) == [found[i] for i in order]


def test_under_true_hypotheses_holm_rarely_rejects_one_and_the_raw_p_often():
    draws = np.random.default_rng(6)
    families = [stats.ttest_1samp(draws.normal(size=(10, 8)), 0.0).pvalue.tolist() for _ in range(200)]
    assert np.mean([min(holm(p)) <= 0.05 for p in families]) <= 0.08 < 0.2 < np.mean([min(p) <= 0.05 for p in families])


def test_tables_show_the_corrected_p_also_of_a_report_without_it():
    draws = np.random.default_rng(7)
    arms = {name: _arm(range(6), draws.normal(0.9, 0.01, 6)) for name in ("conventional", "l1", "l2", "he")}
    rows = report_rows(arms)
    assert [row["p_holm"] for row in rows[1:]] == holm([row["p"] for row in rows[1:]]) and math.isnan(rows[0]["p_holm"])
    smallest = min(rows[1:], key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(min(1, 3 * smallest["p"])), "the baseline is no test"
    old = [{key: value for key, value in row.items() if key != "p_holm"} for row in rows]
    assert markdown(old) == markdown(rows) and "| p (Holm) |" in markdown(rows)
    assert corrected([{"p": 0.01, "p_holm": 0.5}])[0]["p_holm"] == 0.5, "what is written is not made anew"
    duels = head_to_head({"instructed": arms["l1"], "growth": arms["l2"], "he": arms["he"]})
    assert [duel["p_holm"] for duel in duels] == holm([duel["p"] for duel in duels]) and len(duels) == 2
    assert ", p (Holm) = " in head_to_head_line(duels[0])


@pytest.mark.parametrize("grouped", [False, True])
def test_rank_correlation_equals_scipys_and_a_slow_bootstrap(grouped):
    alone = rank_correlation([0.0] * 9 + [1.0], [float(n) for n in range(10)], list(range(10)) if grouped else None)
    assert alone["kendall"] > 0 and math.isnan(alone["low"]), "a third of the resamples lack the one point that differs"
    draws = np.random.default_rng(2)
    runs = np.repeat(np.arange(12), 5)
    realised = np.round(draws.random(12)[runs] + 0.1 * draws.random(60), 1)  # with ties, and alike within a run
    predicted = realised + 0.3 * draws.normal(size=12)[runs]
    said = rank_correlation(predicted.tolist(), realised.tolist(), runs.tolist() if grouped else None, resamples=4000)
    assert said["kendall"] == pytest.approx(stats.kendalltau(predicted, realised).statistic)
    assert said["spearman"] == pytest.approx(stats.spearmanr(predicted, realised).statistic)
    assert said["r2"] == pytest.approx(1 - ((realised - predicted) ** 2).sum() / ((realised - realised.mean()) ** 2).sum())
    slow = []
    for _ in range(1500):
        drawn = draws.integers(0, 12, 12) if grouped else draws.integers(0, 60, 60)
        rows = np.concatenate([np.flatnonzero(runs == run) for run in drawn]) if grouped else drawn
        slow.append(stats.kendalltau(predicted[rows], realised[rows]).statistic)
    assert (said["low"], said["high"]) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.03)


def test_whole_runs_make_a_wider_interval_and_many_points_the_same():
    draws = np.random.default_rng(3)
    runs = np.repeat(np.arange(10), 30)
    realised = draws.random(10)[runs] + 0.01 * draws.random(300)
    predicted = realised + 0.2 * draws.normal(size=10)[runs]
    points = rank_correlation(predicted.tolist(), realised.tolist())
    whole = rank_correlation(predicted.tolist(), realised.tolist(), runs.tolist())
    assert whole["high"] - whole["low"] > 2 * (points["high"] - points["low"])
    x = draws.random(1500)
    y = x + 0.2 * draws.normal(size=1500)
    few, many = (rank_correlation(np.tile(x, k)[:n].tolist(), np.tile(y, k)[:n].tolist()) for k, n in ((1, 900), (1, 1500)))
    assert (many["high"] - many["low"]) / (few["high"] - few["low"]) == pytest.approx(math.sqrt(900 / 1500), rel=0.15)
    one_among_ties = rank_correlation([1.0, *[0.0] * 8], [0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert one_among_ties["kendall"] > 0.4 and math.isnan(one_among_ties["low"]), "a third of all resamples lack that one"
    two_among_ties = rank_correlation([1.0, 1.0, *[0.0] * 7], [0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert two_among_ties["low"] <= two_among_ties["kendall"] <= two_among_ties["high"]
    constant = rank_correlation([0.5, 0.5, 0.5], [0.1, 0.2, 0.3])
    assert math.isnan(constant["kendall"]) and constant["r2"] < 0


def _arm(seeds, accuracy, **others):
    count = len(seeds)
    arm = {"seeds": list(seeds), "test_accuracy": list(accuracy), "test_loss": [0.5] * count, "train_loss": [0.25] * count}
    return {**arm, "ms_per_step": [1.0, 2.0, 9.0], "strength": "", "diverged": 0, **others}


def test_tables_and_lines_read_from_a_file_have_a_dash_where_there_is_no_number(tmp_path):
    """One target per arm: no interval, no p; and a target whose loss is infinite."""
    one = {"conventional": _arm([0], [0.8], ms_per_step=[1.0]), "he": _arm([0], [0.9], test_loss=[math.inf], ms_per_step=[1.0])}
    report = {"rows": report_rows(one), "duels": head_to_head({"instructed": one["he"], "he": one["conventional"]})}
    write_json(tmp_path / "report.json", report | {"prediction": rank_correlation([0.5, 0.5], [0.1, 0.2])})
    back = read_json(tmp_path / "report.json")
    assert back["rows"][1]["gap"] is None and back["rows"][0]["difference"] is None
    assert markdown(back["rows"]) == markdown(report["rows"])
    assert markdown(back["rows"]).splitlines()[2:] == [
        "| conventional | 1 | 80.00 | – | – | 0.250 | 1.00 | – | 0 |",
        "| he | 1 | 90.00 | +10.00 | – | – | 1.00 | – | 0 |",
    ]
    assert "instructed against he: +10.00 [–, –], p = – (" in head_to_head_line(back["duels"][0])
    assert prediction_line(back["prediction"]).startswith("τ = – [–, –], R² = −")


def test_the_table_pairs_by_seed_and_fits_the_terminal():
    from rich.console import Console

    base = [0.80, 0.90, 0.95]
    instructed = _arm([2, 1, 0], [0.96, 0.912, 0.811], strength="policy 0–300")
    arms = {"conventional": _arm([0, 1, 2], base), "instructed-image": instructed}
    rows = report_rows(arms)
    assert [row["arm"] for row in rows] == list(arms)
    assert rows[1]["difference"] == pytest.approx(0.011) and rows[1]["p"] < 0.01 and rows[1]["ms_per_step"] == 2.0
    assert rows[1]["gap"] == 0.25
    lines = markdown(rows).splitlines()
    assert lines[2].startswith("| conventional | 3 | 88.33 [") and "| – | – | 0.250 [0.250, 0.250] |" in lines[2]
    assert "| +1.10 [+1.00, +1.20] |" in lines[3]
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(rich_table(rows))
    text = console.export_text()
    assert "instructed-image" in text and "policy 0–300" in text and "[+1.00, +1.20]" in text and "…" not in text
    with pytest.raises(ValueError, match="other seeds"):
        report_rows({**arms, "l1": _arm([0, 1, 3], base)})
    turned = report_rows(arms, "instructed-image")
    assert turned[0]["difference"] == pytest.approx(-0.011) and math.isnan(turned[1]["difference"])
    with pytest.raises(ValueError, match="no arm 'he'"):
        report_rows(arms, "he")
