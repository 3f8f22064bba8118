"""``grad_instructor``: every public name is there, imported late and typed; nobody else's ``pipeline`` is taken for ours."""

import ast
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import grad_instructor
from grad_instructor.__main__ import WORKING
from grad_instructor.neighbours import Shadowed, check_workers

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "grad_instructor" / "__init__.py"
THEIRS = "THEIRS = 'theirs'\n"
LIGHT = "from grad_instructor import Config\nprint(Config.__name__)\n"
WITH_RL = "from grad_instructor import run\nprint(run.__module__)\n"
INSTALLED = "import sys\nsys.argv = ['bin/grad-instructor', *{}]\nfrom grad_instructor.__main__ import program\nprogram()"
"""the script that pip makes"""


def python(folder: Path, *arguments: str, path: tuple[Path, ...] = (ROOT,)) -> subprocess.CompletedProcess:
    """Python in a folder, with others on its path."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)


def script(folder: Path, text: str, **more) -> subprocess.CompletedProcess:
    """A script of somebody's, run in its folder."""
    (folder / "theirs.py").write_text(text)
    return python(folder, "theirs.py", **more)


def write(folder: Path, name: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(THEIRS)
    return file


def assert_refused(done: subprocess.CompletedProcess, file: Path, name: str) -> None:
    """It ended with one sentence that names the file and the package."""
    last = done.stderr.strip().splitlines()[-1]
    sentence = last.removeprefix("grad_instructor.neighbours.Shadowed: ").removeprefix("grad-instructor: ")
    assert done.returncode != 0 and last != sentence, done.stderr
    assert str(file) in sentence and f"own package {name!r}" in sentence and sentence.endswith("."), sentence
    assert "is not a package" not in done.stderr and not done.stdout


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", grad_instructor.__all__)
def test_every_public_name_is_there(name):
    found = getattr(grad_instructor, name)
    assert found is not None and name in dir(grad_instructor)
    module, alias, other = grad_instructor.HOMES.get(name, "grad_instructor.neighbours").partition(":")
    home = importlib.import_module(module)
    assert found is (home if alias and not other else getattr(home, other or name))


def test_what_is_said_to_type_checkers_is_what_is_there():
    """The table, the imports for type checkers and ``__all__`` name the same things from the same modules."""
    (block,) = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If)][:1]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    typed = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for own in node.names:
            other = f":{own.name}" if own.asname not in (None, own.name) else ""
            module = f"grad_instructor.{own.name}:" if node.module == "grad_instructor" else f"{node.module}{other}"
            typed[own.asname or own.name] = module
    assert typed == grad_instructor.HOMES
    assert {*grad_instructor.__all__} == {*typed, "Shadowed"} and len(set(grad_instructor.__all__)) == len(
        grad_instructor.__all__
    )


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="grad_instructor has no 'Instrctor'"):
        grad_instructor.Instrctor  # noqa: B018
    assert not hasattr(grad_instructor, "load_critics")


def test_importing_it_imports_nothing_heavy(tmp_path):
    heavy = "{'torch', 'numpy', 'ray', 'mlflow', 'matplotlib', 'tyro', 'pipeline', 'rl'}"
    done = script(tmp_path, f"import sys, grad_instructor\nprint(sorted({heavy} & sys.modules.keys()))\n")
    assert done.stdout == "[]\n", done
    done = script(
        tmp_path, f"import sys\nfrom grad_instructor import Config, run\nprint(sorted({heavy} & sys.modules.keys()))\n"
    )
    assert done.stdout == "['pipeline', 'tyro']\n", done


def test_targets_are_a_namespace():
    from grad_instructor.targets import ACTIVATIONS, MLP, OPTIMISERS, SCHEDULES, Population

    assert list(ACTIVATIONS)[:2] == ["relu", "tanh"] and OPTIMISERS and SCHEDULES
    assert grad_instructor.MLP is MLP and grad_instructor.Population is Population
    assert sorted(grad_instructor.targets.__all__) == sorted(
        set(dir(grad_instructor.targets)) & set(grad_instructor.targets.__all__)
    )


def pyright(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return python(folder, "-m", "pyright", "--pythonpath", sys.executable, *arguments)


def test_its_types_are_complete(tmp_path):
    done = pyright(tmp_path, "--verifytypes", "grad_instructor", "--ignoreexternal")
    assert done.returncode == 0 and "Type completeness score: 100%" in done.stdout, done.stdout
    assert all((ROOT / package / "py.typed").exists() for package in ("grad_instructor", "pipeline", "rl")), (
        "else all is Unknown"
    )


def test_a_type_checker_knows_the_names_and_no_others(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "from grad_instructor import Instructor, MLP, load, run\nfrom grad_instructor.targets import ACTIVATIONS\n"
        'Instructor.load("digits-mlp").instruct(3)\nload(4)\nMLP(4)\nrun(config=3)\nACTIVATIONS["relu"].none\n'
        "from grad_instructor import Instrctor\n"
    )
    found = pyright(tmp_path, "theirs.py").stdout
    wrong = [int(line.split(":")[1]) for line in found.splitlines() if " - error: " in line]
    assert sorted(set(wrong)) == [3, 4, 5, 6, 7, 8], found


# -- somebody else's pipeline or rl -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pipeline", "rl"])
@pytest.mark.parametrize("file", ["{}.py", "{}/__init__.py"])
def test_another_beside_the_script_is_named(tmp_path, name, file):
    text = LIGHT if name == "pipeline" else WITH_RL
    twin = script(tmp_path, text)
    assert twin.returncode == 0 and twin.stdout.startswith(("Config", "grad_instructor.")), twin
    there = write(tmp_path, file.format(name))
    assert_refused(script(tmp_path, text), there, name)


def test_the_import_alone_says_it_and_can_be_caught(tmp_path):
    there = write(tmp_path, "pipeline.py")
    assert_refused(script(tmp_path, "import grad_instructor\n"), there, "pipeline")
    done = script(tmp_path, "try:\n    import grad_instructor\nexcept ImportError as error:\n    print(error)\n")
    assert done.returncode == 0 and done.stdout.startswith(str(there)) and done.stdout.count("\n") == 1


def test_rl_is_in_nobodys_way_who_needs_it_not(tmp_path):
    write(tmp_path, "rl.py")
    done = script(tmp_path, "import rl\n" + LIGHT + "print(rl.THEIRS)\n")
    assert done.stdout == "Config\ntheirs\n", done


@pytest.mark.parametrize("file", ["pipeline.py", "pipeline/__init__.py", "pipeline/notes.txt"])
def test_one_that_was_imported_before_is_named(tmp_path, file):
    there = write(tmp_path / "elsewhere", file)
    first = "import sys\nsys.path.insert(0, 'elsewhere')\nimport pipeline\nsys.path.remove('elsewhere')\n"
    done = script(tmp_path, first + LIGHT, path=() if file.endswith(".txt") else (ROOT,))
    assert_refused(done, there.parent if file.endswith(".txt") else there, "pipeline")
    assert "was imported" in done.stderr


@pytest.mark.parametrize("path_first", [True, False], ids=["on the path", "by a finder of an editable installation"])
def test_a_folder_without_init_is_in_the_way_where_python_prefers_it(tmp_path, path_first):
    """A package on the path comes before it; what a finder at the end of the path would find does not."""
    finder = (
        "import sys\nfrom importlib.machinery import PathFinder\n"
        "class Last:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        return PathFinder.find_spec(name, path or [{str(ROOT)!r}])\n"
        "sys.meta_path.insert(1 + sys.meta_path.index(PathFinder), Last)\n"
    )
    write(tmp_path, "pipeline/notes.txt")
    done = script(tmp_path, finder + LIGHT, path=(ROOT,) if path_first else ())
    if path_first:
        assert done.stdout == "Config\n", done
    else:
        assert_refused(done, tmp_path / "pipeline", "pipeline")
        assert script(tmp_path, finder + "import os\nos.rename('pipeline', 'own')\n" + LIGHT, path=()).returncode == 0


def test_another_that_is_installed_is_named(tmp_path):
    there = write(tmp_path / "installed", "pipeline/__init__.py")
    assert_refused(script(tmp_path, LIGHT, path=(tmp_path / "installed", ROOT)), there, "pipeline")
    assert script(tmp_path, LIGHT, path=(ROOT, tmp_path / "installed")).stdout == "Config\n"


def test_a_neighbour_that_is_missing_is_named(tmp_path):
    (tmp_path / "grad_instructor").symlink_to(tmp_path / "copy")
    (tmp_path / "copy").mkdir()
    for file in (ROOT / "grad_instructor").glob("*.py"):
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    done = python(tmp_path, "-I", "-S", "-c", f"import sys\nsys.path.append({str(tmp_path)!r})\n{LIGHT}")
    assert f"own package 'pipeline' is not in {tmp_path}; install" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["pipeline", "rl"])
def test_the_command_line_says_it(tmp_path, name):
    """``python -m`` looks into the working folder; the installed command does where PYTHONPATH says so."""
    calls = [("-m", "grad_instructor", "--version"), ("-c", INSTALLED.format(["--version"]))]
    for call in calls:
        twin = python(tmp_path, *call)
        assert twin.returncode == 0 and twin.stdout == f"grad-instructor {grad_instructor.__version__}\n", twin
    there = write(tmp_path, f"{name}.py")
    for call in calls:
        done = python(tmp_path, *call)
        assert_refused(done, there, name)
        assert done.returncode == 2 and done.stderr.startswith("grad-instructor: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("at", ["check", "check_workers"])
def test_an_interrupt_before_a_command_listens_ends_it_without_a_traceback(at, tmp_path):
    text = "import signal, sys\nimport grad_instructor.__main__ as program\nsys.argv[1:] = ['run', '--preset', 'no such']\n"
    text += f"program.{at} = lambda: signal.raise_signal(signal.SIGINT)\nprogram.program()\n"
    done = script(tmp_path, text)
    assert done.returncode == 130 and done.stderr == "", done


def test_the_commands_that_may_start_ray_are_known():
    from pipeline.command_line.registry import COMMANDS

    assert set(WORKING) == {name for name, entry in COMMANDS.items() if entry.uses_ray}


def test_what_rays_processes_would_take_for_ours_is_refused_before_any_work(tmp_path):
    """They look into the working folder first, also where the command itself does not."""
    there = write(tmp_path, "pipeline.py")
    (tmp_path / "elsewhere").mkdir()
    text = f"import os\nos.chdir({str(tmp_path)!r})\n"
    for arguments in (["search", "x.yaml"], ["run"]):
        done = script(tmp_path / "elsewhere", text + INSTALLED.format(arguments))
        assert_refused(done, there, "pipeline")
        assert "Ray's processes" in done.stderr
    assert script(tmp_path / "elsewhere", text + INSTALLED.format(["run", "--help"])).returncode == 0
    call = text + "from grad_instructor import run\nrun('digits', 'out')\n"
    assert_refused(script(tmp_path / "elsewhere", call), there, "pipeline")
    there.rename(tmp_path / "mine.py")
    done = script(tmp_path / "elsewhere", text + INSTALLED.format(["run", "--preset", "no such"]))
    assert "unknown preset" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "mine.py"]


def test_workers_find_ours_in_a_checkout_and_in_an_empty_folder(tmp_path):
    check_workers(str(ROOT))
    check_workers(str(tmp_path))
    (tmp_path / "rl").mkdir()
    write(tmp_path, "rl/__init__.py")
    with pytest.raises(Shadowed, match=r"rl/__init__\.py is in the way") as caught:
        check_workers(str(tmp_path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value), "Ray sends it from a worker to the driver"


IN_RAY = """
import ray, sys
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

@ray.remote
def used():
    import grad_instructor
    return grad_instructor.Config.__name__

try:
    print(ray.get(used.remote()))
except ray.exceptions.RayTaskError as error:
    print(error.cause)
ray.shutdown()
"""


def test_one_of_rays_processes_says_it(tmp_path):
    """Somebody's own Ray, started in a folder that the script is not in."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs.py").write_text(IN_RAY)
    from pipeline.cluster import prepare_environment

    prepare_environment()
    twin = python(tmp_path, "elsewhere/theirs.py")
    assert twin.stdout == "Config\n", twin
    there = write(tmp_path, "pipeline.py")
    done = python(tmp_path, "elsewhere/theirs.py")
    assert done.stdout.startswith(f"{there} ") and done.stdout.count("\n") == 1, done


def test_a_notebook_says_it(tmp_path):
    import nbclient
    import nbformat

    cell = nbformat.v4.new_code_cell(
        f"import sys\nsys.path.append({str(ROOT)!r})\nfrom grad_instructor import Config\nConfig.__name__"
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    client = {"timeout": None, "resources": {"metadata": {"path": str(tmp_path)}}}
    nbclient.NotebookClient(notebook, **client).execute()
    assert notebook.cells[0].outputs[0]["data"]["text/plain"] == "'Config'"
    there = write(tmp_path, "pipeline.py")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"Shadowed"):
        nbclient.NotebookClient(notebook, **client).execute()
    assert str(there) in notebook.cells[0].outputs[0]["evalue"]
