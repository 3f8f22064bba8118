"""The README's tables, generated from benchmarks/results/*.json between their markers.

python benchmarks/readme.py            # rewrite README.md
python benchmarks/readme.py --check    # exit code 1 where README.md differs from the results
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.files import read_json, write_atomic
from pipeline.report import head_to_head_line
from pipeline.results.tables import markdown

RESULTS = ROOT / "benchmarks" / "results"


def main_job(results: dict[str, Any]) -> str:
    """The table of a main job, what it cost, and where it was made."""
    facts = results["rows"][0]["provenance"]
    duels = [f"- {head_to_head_line(duel)}" for duel in results["head_to_head"]]
    predicted = [
        f"- prediction by {name}, on runs never trained on: τ = {point['kendall']:.2f} "
        f"[{point['low']:.2f}, {point['high']:.2f}], R² = {point['r2']:.2f}"
        for name, point in results["prediction"].items()
    ]
    hardware = facts["hardware"]
    cost = (
        f"`{facts['command']}`: {results['seconds']:.0f} s and at most {results['peak_resident_MiB']} MiB resident over all "
        f"processes ({hardware['cpu']}, {hardware['cores']} cores; {facts['date'][:10]}; commit {facts['commit'][:10]}; "
        f"seed {facts['seed']})."
    )
    return "\n".join([markdown(results["rows"]).strip(), "", *duels, *predicted, "", cost])


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
        f"({hardware['cpu']}; {results['date'][:10]}; commit {results['commit'][:10]})."
    )
    return "\n\n".join(blocks)


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
        f"{duel['difference']:+.3f} [{duel['low']:+.3f}, {duel['high']:+.3f}]".replace("-0.", "−0.")
        for duel in results["differences"]
    ]
    widths, hardware = "-".join(str(width) for width in results["target"]), results["hardware"]
    caption = (
        f"Test runs of {results['dataset']} {widths}, {results['steps']} steps, {recipe['checkpoints']} checkpoints each: "
        f"{recipe['train']} runs train, {recipe['validation']} choose, {recipe['test']} test; intervals resample runs. Each "
        f"predictor has {results['candidates']} candidates; networks get {recipe['short']} steps of {results['batch']} points "
        f"per candidate and {recipe['full']} for the chosen one, one seed. s: seconds of the last training. "
        f"`{results['command']}`: {results['seconds']:.0f} s, one thread, shared cores ({hardware['cpu']}; "
        f"{results['date'][:10]}; commit {results['commit'][:10]}; seed {results['seed']})."
    )
    return "\n".join(["\n".join("| " + " | ".join(line) + " |" for line in lines), "", *duels, "", caption])


def _skill(row: dict[str, Any]) -> list[str]:
    numbers = [row["kendall"], row["low"], row["high"], row["spearman"], row["r2"]]
    if any(number is None or number != number for number in numbers[:4]):  # a constant prediction ranks nothing
        return ["–", "–", f"{row['r2']:.2f}"]
    return [f"{numbers[0]:.3f} [{numbers[1]:.3f}, {numbers[2]:.3f}]", f"{numbers[3]:.3f}", f"{row['r2']:.2f}"]


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "main-digits": main_job,
    "main-mnist": main_job,
    "throughput": throughput,
    "prediction": prediction,
}


def filled(text: str) -> str:
    """The README with every table made anew from its JSON."""

    def table(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- table: {name} -->\n{TABLES[name](read_json(RESULTS / f'{name}.json'))}\n<!-- end -->"

    return re.sub(r"<!-- table: ([\w-]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> int:
    path = ROOT / "README.md"
    text = path.read_text()
    if "--check" in sys.argv[1:]:
        if filled(text) != text:
            print("README.md differs from benchmarks/results; run: python benchmarks/readme.py", file=sys.stderr)
            return 1
        return 0
    write_atomic(path, filled(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
