"""The README's tables, generated from benchmarks/results/*.json between their markers.

python -m benchmarks.readme            # rewrite README.md
python -m benchmarks.readme --check    # exit code 1 where README.md differs from the results
python -m benchmarks.readme --quick    # a copy in a temporary folder

A row says which commit made it: most rows by the caption, others by a number and a note below. † stands at what was chosen at
the edge of its candidates (:mod:`benchmarks.edges`).
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import edges, quick
from benchmarks.paper import NAMES
from pipeline.files import read_json, write_atomic
from pipeline.report import head_to_head_line, prediction_line
from pipeline.results.tables import NONE, as_cell, as_text, markdown
from pipeline.results.tables import p_value as _p

ROOT = Path(__file__).resolve().parents[1]

RESULTS = ROOT / "benchmarks" / "results"


def main_job(results: dict[str, Any]) -> str:
    """The table of a main job, what it cost, and where it was made."""
    rows, origins = results["rows"], Origins([row["provenance"] for row in results["rows"]])
    facts = origins.facts
    duels = [f"- {head_to_head_line(duel)}" for duel in results["head_to_head"]]
    predicted = [
        f"- prediction by {name}, on runs never trained on: {prediction_line(point)}"
        for name, point in results["prediction"].items()
    ]
    hardware = facts["hardware"]
    cost = (
        f"`{facts['command']}`: {results['seconds']:.0f} s and at most {results['peak_resident_MiB']} MiB resident over all "
        f"processes ({hardware['cpu']}, {hardware['cores']} cores; {facts['date'][:10]}; commit {_short(facts)}; "
        f"seed {facts['seed']})."
    )
    shown = [
        row
        | {"arm": row["arm"] + mark}
        | {"strength": edges.marked(row["strength"], edges.of_arm(row["arm"], results["candidates"].get(row["arm"])))}
        for row, mark in zip(rows, origins.marks, strict=True)
    ]
    return edges.noted("\n".join([markdown(shown).strip(), "", *duels, *predicted, "", cost, *origins.notes]))


def throughput(results: dict[str, Any]) -> str:
    """Ratios at every P, by setting and device."""
    blocks = []
    for setting, device in dict.fromkeys((cell["setting"], cell["device"]) for cell in results["ratios"]):
        cells = [cell for cell in results["ratios"] if (cell["setting"], cell["device"]) == (setting, device)]
        names = list(dict.fromkeys(name for cell in cells for name in cell["ratios"]))
        head = [f"{setting}, {device}", *(f"P = {cell['members']}" for cell in cells)]
        lines = [head, ["---", *["---:"] * len(cells)]]
        lines += [[name, *(_ratio(cell["ratios"].get(name)) for cell in cells)] for name in names]
        blocks.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    hardware = results["hardware"]
    blocks.append(
        f"`{results['command']}`: medians of {results['repeats']} turns side by side, {results['torch_threads']} thread "
        f"({hardware['cpu']}; {results['date'][:10]}; commit {_short(results)})."
    )
    return "\n\n".join(blocks)


def reading(results: dict[str, Any]) -> str:
    """One row per optimiser."""
    names = [name for name in results["rows"][0]["ratios"] if name != "plain"]
    lines = [["", "ms per step", *(f"{name}: takes n times that" for name in names)], ["---", *["---:"] * (len(names) + 1)]]
    for row in results["rows"]:
        lines.append([row["optimiser"], f"{row['ms']:.2f}", *(f"{row['ratios'][name]:.2f}" for name in names)])
    caption = (
        f"`{results['command']}`: medians of {results['turns']} turns side by side, 784-100-10, batches of 100, one target, "
        f"read at every step by 64 probes, 1 thread ({_where(results)})."
    )
    return "\n".join([_lines(lines), "", caption])


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def prediction(results: dict[str, Any]) -> str:
    """One row per predictor, both goals side by side; below it the budget and the differences from the outside baselines."""
    rows, recipe = results["rows"], results["recipe"]
    head = ["predictor", *(f"{name}, {goal}" for goal in ("now", "end") for name in ("τ", "ρ", "R²")), "parameters", "s"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in dict.fromkeys(row["predictor"] for row in rows):
        now, end = (next(row for row in rows if (row["predictor"], row["goal"]) == (name, goal)) for goal in ("now", "end"))
        sizes = " / ".join(f"{count:,}" for count in dict.fromkeys((now["parameters"], end["parameters"])))
        lines.append([name, *_skill(now), *_skill(end), sizes, f"{now['seconds']:.0f} / {end['seconds']:.0f}"])
    duels = [
        f"- {duel['goal']}: {duel['reader']} (best reader on the validation runs) against {duel['baseline']}: Δτ = "
        f"{as_cell(duel['difference'], '+.3f')} [{as_cell(duel['low'], '+.3f')}, {as_cell(duel['high'], '+.3f')}]"
        for duel in results["differences"]
    ]
    widths, hardware = "-".join(str(width) for width in results["target"]), results["hardware"]
    caption = (
        f"Test runs of {results['dataset']} {widths}, {results['steps']} steps, {recipe['checkpoints']} checkpoints each: "
        f"{recipe['train']} runs train, {recipe['validation']} choose, {recipe['test']} test; intervals resample runs. Each "
        f"predictor has {results['candidates']} candidates; networks get {recipe['short']} steps of {results['batch']} points "
        f"per candidate and {recipe['full']} for the chosen one, one seed. s: seconds of the last training. "
        f"`{results['command']}`: {results['seconds']:.0f} s, one thread, shared cores ({hardware['cpu']}; "
        f"{results['date'][:10]}; commit {_short(results)}; seed {results['seed']})."
    )
    return "\n".join(["\n".join("| " + " | ".join(line) + " |" for line in lines), "", *duels, "", caption])


def _skill(row: dict[str, Any]) -> list[str]:
    tau, low, high, rho = (as_text(row[name], ".3f") for name in ("kendall", "low", "high", "spearman"))
    r2 = as_text(row["r2"], ".2f")
    if NONE in (tau, low, high, rho):  # a constant prediction ranks nothing
        return [NONE, NONE, r2]
    return [f"{tau} [{low}, {high}]", rho, r2]


def paper(results: dict[str, Any]) -> str:
    """One row per arm; below it what is set against what, and when an ENN has paid for itself."""
    head = ["arm", "test accuracy %", "paired difference", "p", "test − train loss", "ms per step", "λ", "ENN's training, s"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    parts, whence = results["parts"], {arm: part for part in results["parts"].values() for arm in part["arms"]}
    origins, edge = Origins([whence[row["arm"]]["provenance"] for row in results["rows"]]), _edges_of_paper(parts)
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        own = row["difference"] is not None
        lines.append(
            [
                row["arm"] + mark,
                _interval(row, "accuracy", ".2f", 100),
                _interval(row, "difference", "+.2f", 100) if own else "–",
                _p(row["p"]),
                as_cell(row["gap"], ".3f"),
                f"{row['ms_per_step']:.2f}",
                edges.marked(row["strength"], row["arm"] in edge),
                f"{row['enn_seconds']:.0f}" if row["enn_seconds"] else "–",
            ]
        )
    duels = [f"- {head_to_head_line(duel)}" for duel in results["duels"]]
    facts = origins.facts
    paid = [f"- {name}: {_break_even(values)}" for name, values in parts["probes"]["break_even"].items()]
    caption = (
        f"`{facts['command']}`: n = {results['rows'][0]['n']} fresh targets per arm, paired by seed, one ENN per row "
        f"({facts['hardware']['cpu']}, {facts['hardware']['cores']} cores, two runs at a time; "
        f"{facts['date'][:10]}; commit {_short(facts)}; seed {facts['seed']})."
    )
    if results["not_run"]:
        caption += f" Not run: {', '.join(results['not_run'])}."
    paid = ["To the last validation accuracy of the second:", *paid]
    return edges.noted("\n".join([_lines(lines), "", *duels, "", *paid, "", caption, *origins.notes]))


def _edges_of_paper(parts: dict[str, Any]) -> set[str]:
    """The rows whose strength lies at the edge of its candidates."""
    chosen = ((variant, arm, found) for variant, part in parts.items() for arm, found in part["candidates"].items())
    return {NAMES.get((variant, arm), arm) for variant, arm, found in chosen if edges.of_arm(arm, found)}


def _break_even(values: dict[str, Any]) -> str:
    if values["steps"] is None:
        return "never reached"
    share = f"{100 * values['share_of_steps']:.0f} % of the steps"
    if values["runs"] is None:
        return f"{share}; no seconds saved"
    return f"{share}; the ENN's training is repaid after {values['runs']:,.0f} runs of {values['seconds_of_a_run']:.2f} s"


def transfer(results: dict[str, Any]) -> str:
    """One row per task and start."""
    head = ["targets and data", "from", "conventional %", "instructed, guarded: difference", "unguarded: difference"]
    head += ["adapted: difference", "time ×"]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    origins = Origins([row.get("provenance", results) for row in results["rows"]])
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        start = {"normal": "small", "he": "He"}.get(row["start"], row["start"])
        found = [row["difference"].get(arm) for arm in ("guarded", "unguarded", "adapted")]
        differences = [f"{_signed(own)}, p {_p(own['p'])}" if own else "–" for own in found]
        ratio = row["seconds"]["guarded"] / row["seconds"]["conventional"]
        lines.append(
            [row["task"] + mark, start, f"{100 * row['accuracy']['conventional']['mean']:.2f}", *differences, f"{ratio:.2f}"]
        )
    caption = (
        f"`{results['command']}`: test accuracy, n = {results['rows'][0]['n']} per arm, paired by seed, "
        f"{results['home']['steps']} steps; time: training seconds of the guarded arm over the conventional "
        f"one's ({_where(origins.facts)})."
    )
    return "\n".join([_lines(lines), "", caption, *origins.notes])


def directions(results: dict[str, Any]) -> str:
    """One row per ENN and start."""
    head = [
        "ENN",
        "from",
        "conventional %",
        "instructed %",
        "as growth %",
        "as random %",
        "instructed − growth",
        "cosine, layer 1",
        "layer 2",
    ]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for row in results["rows"]:
        means = [f"{100 * row['test'][arm]['mean']:.2f}" for arm in ("conventional", "instructed", "growth", "random")]
        cosines = ["; ".join(f"{third[layer]:.2f}" for third in row["cosines"]) for layer in (0, 1)]
        start = "small" if row["start"] == "normal" else "He"
        lines.append([f"`{row['enn']}`", start, *means, _signed(row["instructed_minus"]["growth"]), *cosines])
    caption = (
        f"`{results['command']}`: test accuracy, n = {results['rows'][0]['instructed_minus']['growth']['n']}, paired by seed; "
        f"the cosines in each third of the run ({_where(results)})."
    )
    return "\n".join([_lines(lines), "", caption])


def baselines(results: dict[str, Any]) -> str:
    """One row per length and baseline: whole runs, and half of the steps against whole ones."""
    rows = results["rows"]
    spent = ["its end after % of the steps", "of the seconds", "time ×"]
    head = ["steps", "from He, cosine", "alone %", "alone, all data %", "instructed %", "each ENN %", "difference", "p"]
    head += ["batch × 2 %", "against it", "p", "reads every", *spent]
    whole = [head, ["---:", "---", *["---:"] * (len(head) - 2)]]
    head = ["steps", "from He, cosine", "alone %", "half, alone %", "half, instructed %", "each ENN %", "against all steps"]
    head += ["p", "half, batch × 2 %", "against it", "p", "reads every", *spent]
    half = [head, ["---:", "---", *["---:"] * (len(head) - 2)]]
    origins = Origins(rows)
    for row, mark in zip(rows, origins.marks, strict=True):
        whole.append([*_compared(row, mark, "", "baseline-all"), *_spent(row, "instructed")])
        if "instructed, half" in row["test"]:
            half.append([*_compared(row, mark, ", half", "baseline, half"), *_spent(row, "instructed, half")])
    count, command = rows[0]["difference"]["instructed"]["n"], "`python -m benchmarks.baselines --steps … --baseline …`"
    enns = ", ".join(f"`{name}`" for name in rows[0]["enns"])
    if rows[0]["enns"] == ["mnist-tuned", "seed 1", "seed 2"]:
        enns = "`mnist-tuned`, and two of its like of other seeds"
    caption = (
        f"Test accuracy, n = {count}, paired by seed, mean over the ENNs ({enns}); "
        f"intervals resample targets; *all data*: validation data too; *its end*: when instructed targets reach the baseline's "
        f"last validation accuracy; *time*: over that of all steps alone. {command} ({_where(origins.facts)})."
    )
    tables = [_lines(whole), "", "In half of the steps:", "", _lines(half), "", caption, *origins.notes]
    return edges.noted("\n".join(tables))


def _spent(row: dict[str, Any], arm: str) -> list[str]:
    """Steps between two readings, when the baseline's last accuracy is reached, and the seconds of the whole."""
    shares, every = [row[key][arm] for key in ("share_of_steps", "share_of_seconds")], row["chosen"][arm]["refresh"]
    return [str(every), *("never" if share is None else f"{100 * share:.0f}" for share in shares), f"{row['seconds'][arm]:.2f}"]


def _compared(row: dict[str, Any], mark: str, end: str, other: str) -> list[str]:
    """Alone, another arm, instructed, by ENN, against alone, twice the batch, against that."""
    alone, another, instructed, double = (
        edges.marked(f"{100 * row['test'][arm]['mean']:.2f}", _at_edge(row, arm)) if arm in row["test"] else "–"
        for arm in ("baseline", other, f"instructed{end}", f"double batch{end}")
    )
    each = "; ".join(f"{100 * value:.2f}" for value in row["by_enn"][f"instructed{end}"])
    one, against = row["difference"][f"instructed{end}"], row["against_double_batch"][end]
    cells = [f"{row['steps']:,}", row["baseline"] + mark, alone, another, instructed, each, _signed(one), _p(one["p"])]
    return [*cells, double, _signed(against), _p(against["p"])]


def _at_edge(row: dict[str, Any], arm: str) -> bool:
    """Whether an arm's learning rate, or its share of the ENN's λ, lies at the edge of what was tried."""
    tried = row["candidates"]["baseline" if arm == "baseline-all" else arm]  # which has the baseline's
    return edges.of_settings(row["chosen"][arm], tried, ("rate", "factor"))


def ablations(results: dict[str, Any]) -> str:
    """One row per variant under its base."""
    head = ["", "gain", "difference", "from small", "from He", "s of training"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    origins = Origins([row.get("provenance", results) for row in results["rows"]])
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        gain, name = row["gain"], row["name"] + mark
        parts = [f"{100 * gain[start]['difference']:+.2f}".replace("-", "−") for start in ("small", "he")]
        difference = "–" if row["is_base"] else _signed(row["difference"]["all"])
        shown = f"**{row['base']}**: {name}" if row["is_base"] else name
        lines.append([shown, _signed(gain["all"]), difference, *parts, f"{row['seconds']:.0f}"])
    small, he = (f"{100 * results['conventional'][start]:.2f}" for start in ("small", "he"))
    caption = (
        f"`{results['command']}`: gain in points of validation accuracy over conventional training ({small} % from small "
        f"weights, {he} % from He); {results['seeds']} ENNs per row, {results['targets']} targets each, the same for all; 95 % "
        f"intervals resample ENNs and targets; difference: from the base above; {results['seconds'] / 60:.0f} minutes of the "
        f"processor in all ({_where(origins.facts)})."
    )
    return "\n".join([_lines(lines), "", caption, *origins.notes])


def scarce(results: dict[str, Any]) -> str:
    """One row per cell and optimiser."""
    enns = list(results["rows"][0]["difference"])
    head = ["images", "wrong labels", "from He", "alone %", *(f"ENN, {name}: difference" for name in enns)]
    head += ["alone, + 500 %", *(f"ENN, {name}, + 500: difference" for name in enns)]
    lines = [head, ["---:", "---:", "---", *["---:"] * (len(head) - 3)]]
    origins = Origins([row.get("provenance", results) for row in results["rows"]])
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        optimiser = {"sgd": "SGD", "adamw": "AdamW"}[row["optimiser"]] + mark
        cells, edge = [f"{row['images']:,}", f"{100 * row['wrong']:.0f} %", optimiser], _edges_of_scarce(row["arms"])
        for data in ("stopped", "with validation"):
            differences = [row["difference"][name][data] for name in enns]
            cells.append(edges.marked(f"{100 * row['mean']['alone'][data]['mean']:.2f}", edge["alone"]))
            shown = {name: f"{_signed(own)}, p {_p(own['p'])}" for name, own in zip(enns, differences, strict=True)}
            cells += [edges.marked(cell, edge[name]) for name, cell in shown.items()]
        lines.append(cells)
    skills = [
        f"{name}: R² {as_cell(skill['r2'], '.2f')}, τ {as_cell(skill['kendall'], '.2f')} "
        f"[{as_cell(skill['low'], '.2f')}, {as_cell(skill['high'], '.2f')}]"
        for name, skill in results["prediction"].items()
    ]
    control = results["control"]
    alone = edges.marked(f"{100 * control['mean']:.2f}", _edges_of_scarce({"control": control})["control"])
    taken = ", ".join(f"{value:.0f}" for value in results["enn_seconds"].values())
    caption = (
        f"`{results['command']}`: test accuracy, n = {len(results['rows'][0]['arms']['alone']['stopped'])} fresh subsets per "
        f"cell, paired; + 500: trained on the validation images too. Each ENN has learned on {results['runs']:,.0f} runs with "
        f"{results['enn_images']:,} other images ({taken} s of the processor). Control: trained on {control['images']:,} of "
        f"those, without an ENN, {alone} [{100 * control['low']:.2f}, {100 * control['high']:.2f}] %. V on "
        f"new runs: {'; '.join(skills)} ({_where(origins.facts)})."
    )
    return edges.noted("\n".join([_lines(lines), "", caption, *origins.notes]))


def _edges_of_scarce(arms: dict[str, Any]) -> dict[str, bool]:
    """By arm, whether its learning rate, weight decay or share of λ lies at the edge of what was tried."""
    names = ("learning_rate", "weight_decay", "factor")
    return {name: edges.of_settings(arm["chosen"], arm.get("candidates", []), names) for name, arm in arms.items()}


def faults(results: dict[str, Any]) -> str:
    """One row per fault."""
    lines = [["what was done to a run", "who ended it", "results", "runs in MLflow", "records"], ["---"] * 5]
    origins = Origins([row["provenance"] for row in results["rows"]])
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        if "missing" in row:
            lines.append([f"{row['fault']}{mark}: not done", row["missing"], "", "", ""])
        else:
            lines.append([row["what"].rstrip(".") + mark, row["ended_by"], "bit-identical", "all FINISHED", "each once"])
    caption = f"`python -m tests.support.faults` ({_where(origins.facts)})."
    return "\n".join([_lines(lines), "", caption, *origins.notes])


def fuzz(results: dict[str, Any]) -> str:
    """One row per kind of file."""
    lines = [["file", "malformed", "read all the same", "refused in one sentence", "slowest, ms"], ["---", *["---:"] * 4]]
    origins = Origins([row["provenance"] for row in results["rows"]])
    for row, mark in zip(results["rows"], origins.marks, strict=True):
        numbers = [f"{row[key]:,}" for key in ("files", "read", "refused")]
        lines.append([row["kind"] + mark, *numbers, f"{row['slowest_ms']:.0f}"])
    caption = (
        f"`python -m tests.support.fuzz`: nothing else happened to any; none may take more than {results['memory_GiB']:.0f} GiB "
        f"of memory beyond the program's own ({_where(origins.facts)})."
    )
    return "\n".join([_lines(lines), "", caption, *origins.notes])


def scaling(results: dict[str, Any]) -> str:
    """Memory by queue, time per task by batch, two workers against one, and the model."""
    queues, costs, two = results["memory"]["queues"], results["overhead"], results["efficiency"]
    lines = [["targets in the queue", *(f"{row['targets']:,}" for row in queues)], ["---", *["---:"] * len(queues)]]
    lines += [["driver's memory at most, MiB", *(f"{row['peak_MiB']:.1f}" for row in queues)]]
    lines += [["of that grown since the first hundredth, MiB", *(f"{row['growth_MiB']:.1f}" for row in queues)]]
    batches = [f"{values['median']:,.0f} µs at {batch}" for batch, values in costs["microseconds_per_task"].items()]
    facts, model = results["provenance"], results["model"]
    said = [
        f"- time per task that does nothing, by tasks per call: {', '.join(batches)}; a result costs "
        f"{costs['ms_per_MB_carried']['median']:.1f} ms per MB to the driver and {costs['ms_per_MB_written']['median']:.1f} ms "
        "per MB into a file",
        f"- two workers against one: {_range(two['speedup_2_over_1'])} times as fast, on {_range(two['cores_used_2'])} "
        "of two cores, which other work shares (medians and quartiles)",
    ]
    head = [
        "a device, against this CPU",
        "targets per population",
        "weights kept",
        *(f"{n:,} devices" for n in (10, 100, 1000)),
    ]
    table = [[*head, "saturates at"], ["---:", "---:", "---", *["---:"] * 4]]
    for row in model["rows"]:
        shares = [f"{100 * row['efficiency'][str(n)]:.0f} %" for n in (10, 100, 1000)]
        kept = "yes" if row["weights_kept"] else "no"
        table.append([f"× {row['speed']}", f"{row['members']:,}", kept, *shares, f"{row['saturates_at']:,.0f}"])
    assumed = "Assumed: " + "; ".join(model["assumptions"]) + "."
    caption = f"`{facts['command']}`: medians of {results['repeats']} alternating turns ({_where(facts)}). No GPU was measured."
    return "\n".join([_lines(lines), "", *said, "", _lines(table), "", assumed, caption])


def _range(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} [{values['low']:.2f}, {values['high']:.2f}]"


ALSO_SHOWN = {"rank_correlation": "τ of V, held-out runs", "calibration_error": "calibration error", "parameters": "parameters"}
"""where every candidate of a search over ENNs is shown"""


def searched(results: dict[str, Any]) -> str:
    """The Pareto front of a search (where there is one objective: the best of each group), and what the search cost."""
    plan, rows = results["plan"], {row["name"]: row for row in results["rows"]}
    objectives = [name for name, _ in plan["objectives"]]
    everything = plan["sampler"]["name"] == "grid"
    groups = list(dict.fromkeys(row["group"] for row in rows.values())) if len(plan["groups"]) > 1 else []
    shown = list(rows.values()) if everything else [rows[name] for name in results["pareto"]]
    if groups:  # one objective, a larger one is better: the best of each
        finished = [[row for row in rows.values() if row["group"] == group] for group in groups]
        shown = [max(own, key=lambda row: row["result"][objectives[0]]) for own in finished]
    keys = [key for key in _searched_keys(plan) if any(key in row["settings"] for row in shown)]
    also = ALSO_SHOWN if everything else {}
    head = ["candidate", *(name.replace("_", " ") for name in objectives), *also.values(), *(f"`{key}`" for key in keys)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in shown:
        values = [_objective(row["result"], name) for name in objectives]
        values += [f"{row['result'][name]:,.2f}".removesuffix(".00") for name in also]
        name = f"**{row['name']}**" if everything and row["name"] in results["pareto"] else row["name"]
        space = {dimension["key"]: dimension for group in plan["groups"] for dimension in group["space"]}
        if groups:  # the same name may have another range in each
            (own,) = (group["space"] for group in plan["groups"] if group["name"] == row["group"])
            space = {dimension["key"]: dimension for dimension in own}
        cells = {key: _setting(row["settings"].get(key)) for key in keys}
        found = {key: not everything and _searched_edge(row["settings"].get(key), space.get(key)) for key in keys}
        lines.append([name, *values, *(edges.marked(cell, found[key]) for key, cell in cells.items())])
    of_enns = "; gain in points of accuracy over the same targets without an ENN, half of them from He"
    minutes = results["processor_seconds"] / 60
    taken = f"{minutes:.1f}" if minutes < 1 else f"{minutes:.0f}"
    ended = ", ".join(f"{count} after *{name}*" for name, count in results["ended_after"].items())
    facts, last = results["provenance"], plan["stages"][-1]
    caption = (
        f"`{facts['command']}`: {results['candidates']} candidates ({ended}) in {results['wall_seconds'] / 60:.0f} minutes, "
        f"{taken} of the processor; {last['targets']} fresh targets per finished candidate, "
        f"validation data{of_enns * ('gain' in objectives)} ({_where(facts)}; {facts['hardware']['cores']} cores; "
        f"seed {facts['seed']})."
    )
    caption += " Bold: on the front." * everything
    return edges.noted("\n".join([_lines(lines), "", caption]))


def _searched_edge(chosen: Any, dimension: dict[str, Any] | None) -> bool:
    """Whether a learning rate, strength or penalty lies at an edge of where it was searched."""
    name = dimension["key"].rpartition(".")[2] if dimension else ""
    if dimension is None or name not in ("learning_rate", "strength", *edges.PENALTIES) or chosen is None:
        return False
    if dimension["choice"]:
        return edges.at_edge(chosen, dimension["choice"], name in edges.PENALTIES)
    return edges.in_range(chosen, dimension["low"], dimension["high"], dimension["log"], name)


def _searched_keys(plan: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(dimension["key"] for group in plan["groups"] for dimension in group["space"]))


def _objective(result: dict[str, Any], name: str) -> str:
    if name == "gain":
        return _interval(result, "gain", "+.2f", 1)
    return f"{result[name]:.3g}"


def _points(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _setting(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def predicted_enn(results: dict[str, Any]) -> str:
    """One row per way of predicting, by how far the ENNs were trained; below it the spread of what was to be predicted."""
    head = ["trained", "predicted from", "rank correlation with the gain", "time spent", "best gain kept", "mean gain kept"]
    lines, before = [head, ["---", "---", *["---:"] * (len(head) - 2)]], None
    for name, row in results["rows"].items():
        saved, trained = row["saving"], f"{row['segments']} of {results['segments']} segments"
        skill = f"{as_cell(row['spearman'], '.2f')} [{as_cell(row['low'], '.2f')}, {as_cell(row['high'], '.2f')}]"
        kept = [f"{_points(saved['best_kept'])} of {_points(saved['best'])}", f"{_points(saved['mean_kept'])}"]
        spent = f"{100 * saved['share_of_seconds']:.0f} %"
        lines.append([trained if trained != before else "", name.partition(": ")[2], skill, spent, *kept])
        before = trained
    low, _, middle, _, high = results["gain"]
    mean, trial = (
        next(iter(results["rows"].values()))["saving"]["mean"],
        max(row["targets"] for row in results["rows"].values()),
    )
    caption = (
        f"`{results['command']}`: Spearman's ρ over {results['enns']} random ENNs, each predicted from the others (leave one "
        f"out); 95 % intervals resample ENNs. Gains: {_points(low)} to {_points(high)}, median {_points(middle)}, each known "
        f"to ± {results['gain_half_width']:.1f} ({results['targets']} targets); trial: the gain of {trial} other targets. "
        f"Time spent, gains kept: were only the third with the highest predictions judged to the end (mean of all: "
        f"{_points(mean)}). All took {results['seconds'] / 60:.0f} minutes of the processor ({_where(results)})."
    )
    return "\n".join([_lines(lines), "", caption])


def target_settings(results: dict[str, Any]) -> str:
    """One row per way of choosing."""
    head = ["chosen by", "optimiser steps", "test accuracy %", "against random", "p", "against ASHA", "p"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in results["rows"]:
        test = row["test"]
        cells = [row["way"], f"{row['steps']:,}", f"{test['mean']:.2f} [{test['low']:.2f}, {test['high']:.2f}]"]
        for other in ("random", "ASHA"):
            duel = row[f"against {other}"]
            same = row["way"] == other
            cells += ["–", "–"] if same else [_signed(duel, 1), _p(duel["p"])]
        lines.append(cells)
    enn = results["enn"]
    skill = enn["kendall"][enn["reader"]]
    alone = skill["score alone"]
    caption = (
        f"`{results['command']}`: digits, {results['repeats']} repeats with fresh candidates, paired; learning rate, batch "
        f"size, momentum and width. On held-out runs Kendall's τ with the last score is, after 67 and 200 of 600 steps, "
        f"{skill['67']:.2f} and {skill['200']:.2f} for V, {alone['67']:.2f} and {alone['200']:.2f} for the score by then. The "
        f"ENN's own {results['recorded_runs']} recorded runs, {results['recorded_steps']:,} steps, are not in the column "
        f"({_where(results)})."
    )
    return "\n".join([_lines(lines), "", caption])


class Origins:
    """Which commit made which row: the caption names the one that made most; a number at a row's name leads to another.

    Attributes:
        facts: a provenance of the caption's commit.
        marks: by row, "" or a number.
        notes: lines below the caption.
    """

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        commits = [_short(facts) for facts in rows]
        main = Counter(commits).most_common(1)[0][0]
        self.facts = rows[commits.index(main)]
        numbers = {other: _raised(number) for number, other in enumerate(dict.fromkeys(c for c in commits if c != main), 1)}
        self.marks = [numbers.get(commit, "") for commit in commits]
        dates = {commit: facts["date"][:10] for commit, facts in zip(commits, rows, strict=True)}
        others = [f"{mark} made by commit {commit}, {dates[commit]}" for commit, mark in numbers.items()]
        self.notes = ["", "; ".join(others) + "."] if others else []


def _raised(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def _short(facts: dict[str, Any]) -> str:
    """The commit, or all of them where a row comes of several; what was not committed is said to be so."""
    commits = facts.get("commits") or [facts["commit"]]
    return " and ".join(commit[:10] + "-dirty" * commit.endswith("-dirty") for commit in commits)


def _where(facts: dict[str, Any]) -> str:
    return f"{facts['hardware']['cpu']}; {facts['date'][:10]}; commit {_short(facts)}"


def _lines(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _interval(row: dict[str, Any], name: str, form: str, scale: float) -> str:
    mean, low, high = (as_cell(row[f"{name}{end}"], form, scale) for end in ("", "_low", "_high"))
    return f"{mean} [{low}, {high}]"


def _signed(difference: dict[str, Any], scale: float = 100) -> str:
    mean, low, high = (as_cell(difference[name], "+.2f", scale) for name in ("difference", "low", "high"))
    return f"{mean} [{low}, {high}]"


def tangent(results: dict[str, Any]) -> str:
    """What a Hessian product costs and errs by, one row per activation; below it what that does to costates."""
    head = ["activation", *(f"{shapes}: takes n times the gradients" for shapes in ("mnist", "digits"))]
    head += ["difference: relative error", "difference: cosine"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for activation in dict.fromkeys(row["activation"] for row in results["cost"]):
        costs = [row for row in results["cost"] if row["activation"] == activation]
        errors = [row for row in results["error"] if row["activation"] == activation]
        wrong, cosine = ([row[f"difference, {name}"] for row in errors] for name in ("relative error", "cosine"))
        times = [[row["tangent / gradients"] for row in costs if row["shapes"] == shapes] for shapes in ("mnist", "digits")]
        cells = [", ".join(f"{time:.2f}" for time in found) for found in times]
        lines.append([activation, *cells, ", ".join(f"{value:.2g}" for value in wrong), ", ".join(f"{c:.2f}" for c in cosine)])
    told = []
    for row in results["costates"]:
        (pushed,) = (key.split()[-1] for key in row if key.startswith("exact, norm at"))
        agreed, norms = (
            {
                name: ", ".join(f"{v:.2g}" for key, v in row.items() if key.startswith(name + what))
                for name in ("exact", "difference")
            }
            for what in (", promised", ", norm")
        )
        told.append(
            f"- costates of {row['steps']} steps at learning rate {row['learning rate']:g}, {pushed} steps after the start: "
            f"norm {norms['exact']}, by differences {norms['difference']}; correlation of promised and true changes, by "
            f"length of the push: {agreed['exact']}, by differences {agreed['difference']}"
        )
    lengths = [key.split()[-1] for key in results["costates"][0] if key.startswith("exact, promised")]
    steps = ", ".join(str(row["steps"]) for row in results["error"] if row["activation"] == "relu")
    caption = (
        f"`python -m benchmarks.tangent`: times for P = 8, 64, one thread; errors after {steps} steps from He on MNIST; pushes "
        f"of {', '.join(lengths)} of the weights' norm ({_where(results['provenance'])})."
    )
    return "\n".join([_lines(lines), "", *told, "", caption])


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "main-digits": main_job,
    "throughput": throughput,
    "tangent": tangent,
    "reading": reading,
    "prediction": prediction,
    "paper-shallow": paper,
    "paper-deep": paper,
    "transfer": transfer,
    "ablations": ablations,
    "scarce": scarce,
    "baselines": baselines,
    "directions": directions,
    "faults": faults,
    "fuzz": fuzz,
    "scaling": scaling,
    "search-enn_architecture": searched,
    "search-image_resolution": searched,
    "search-off_policy": searched,
    "search-baselines": searched,
    "predicted-enn": predicted_enn,
    "target-settings": target_settings,
}


CORRECTED = "2026-11-26"
EARLIER = (
    f"‡ Made by code of before {CORRECTED}, when Hessian products became exact, V the greedy policy's value, and growth the "
    "same under every optimiser (benchmarks/LOG.md)."
)
UNTOUCHED = ("throughput", "reading", "faults", "fuzz", "scaling")
"""tables whose numbers that changed nothing of"""


def filled(text: str) -> str:
    """The README with every table made anew from its JSON; below one that has a part older than CORRECTED, a note."""

    def table(match: re.Match[str]) -> str:
        name = match[1]
        results = read_json(RESULTS / f"{name}.json")
        old = name not in UNTOUCHED and min(_dates(results)) < CORRECTED
        parts = [f"<!-- table: {name} -->", TABLES[name](results), *(["", EARLIER] if old else []), "<!-- end -->"]
        return "\n".join(parts)

    return re.sub(r"<!-- table: ([\w-]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def _dates(found: Any) -> Iterator[str]:
    """Of all provenances in a result, YYYY-MM-DD."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        if key == "date":
            yield value[:10]
        elif isinstance(value, dict | list):
            yield from _dates(value)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where README.md differs")
    options = parser.parse_args()
    path = ROOT / "README.md"
    text = path.read_text()
    if options.check:
        if filled(text) != text:
            print("README.md differs from benchmarks/results; run: python -m benchmarks.readme", file=sys.stderr)
            return 1
        return 0
    write_atomic(quick.results_folder(True) / "README.md" if options.quick else path, filled(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
