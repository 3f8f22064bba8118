"""The README says what the results say."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BENCHMARK = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"), run_name="readme")


def test_tables_are_those_of_the_results() -> None:
    assert "<!-- table:" in README
    assert BENCHMARK["filled"](README) == README, "run: python -m benchmarks.readme"


def test_a_changed_number_is_noticed() -> None:
    number = re.search(r"<!-- table: main-digits -->.*?(\d\d\.\d\d)", README, flags=re.DOTALL)
    assert number is not None
    forged = README[: number.start(1)] + "99.99" + README[number.end(1) :]
    assert BENCHMARK["filled"](forged) != forged


def test_files_that_the_readme_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_twenty_lines_run(tmp_path: Path, monkeypatch) -> None:
    """The README's example of one's own loop, word for word, with an ENN made here in place of a trained one."""
    from pipeline.config import ENNConfig
    from pipeline.enn import Critic, Home, save_critic
    from pipeline.targets import MLP

    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 22
    home = Home(MLP((64, 32, 10)), 600, 25, 0.1, (0.0, 1.0, 3.0, 10.0), 25, 0.01, strength=3.0)
    save_critic(Critic("probes", ENNConfig(), home), tmp_path / "enn.safetensors", {})
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["accuracy"] > 0.5
    assert names["instructor"].step == 600
