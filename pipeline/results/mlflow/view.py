"""The page of a folder's runs in MLflow's UI with its charts set up: a shared view, kept as a tag of the experiment.

MLflow's UI reads the state of its page of runs from the tag ``mlflow.sharedViewState.KEY`` when it is opened with
``viewStateShareKey=KEY``. The state is JSON; its words are those of the UI of MLflow 3. It is written through the server that
is to show it, so that no MLflow is imported here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PREFIX, KIND = "mlflow.sharedViewState.", "mlflow.experimentKind"
ROLE, OWN, FOLDER, PARENT = "role", "parent", "grad_instructor.folder", "mlflow.parentRunId"
SETTINGS, LOOKED_AT = "Settings and what they lead to", "What the ENN looks at"
SECTIONS = {
    "Validation data": ("val/",),
    "Test set": ("test/accuracy", "test/difference"),
    SETTINGS: (),
    "Found": ("gain", "rank_correlation", "kendall_", "spearman_", "ms_per_architecture"),
    LOOKED_AT: (),
    "Instruction": ("instruction/", "train/gradient_norm", "predicted/", "angle/"),
    "The ENN's training": ("kendall/", "error/", "score/", "unrolled/loss/"),
}
"""charts by the beginnings of what they show; what begins otherwise has no chart. Two have none: settings, and images"""
LEFT_OUT = ("_low", "_high", "_spread")
DECIDING, BY_NAME = ("test/accuracy", "val/accuracy", "gain", "kendall_"), "attributes.run_name"
"""what runs are listed by, best first: the first of what begins so"""
IMAGES = ("weights", "gradcam")
COLUMNS, MODELS = 8, "attributes.`Models`"
"""parameters in the table, of those that differ among the runs, and the ENNs"""
NAMED = ("arm", "predictor")
"""parameters that say no more than the run's name"""
NO_ANGLE = 0.01
"""degrees: a layer that is never further from the gradient than this gets the gradient itself, and no chart"""
WORKFLOW = {"workflowType": "machine_learning"}
"""without it MLflow's menus are those for language models"""
MOST = 1000
"""runs that the server tells at once"""
SECONDS = 10.0
"""in which the server answers"""
Run = Mapping[str, Any]


def pages(server: str, experiment: str, folder_id: str) -> list[str]:
    """Save the view of a folder's runs; the addresses of its page, and of that of the folder's own run, which has the answer.

    Args:
        server: the address of a server that answers.
        experiment: the experiment's id.
        folder_id: what tells the folder's runs from any other's.

    Raises:
        OSError: the server does not do so.
    """
    own = _runs_of(server, experiment, folder_id)
    some = _ask(server, "runs/search", {"experiment_ids": [experiment], "max_results": min(len(own) + 1, MOST)})
    alone = len(some.get("runs", [])) == len(own)
    key = f"grad-instructor-{folder_id[:8]}"
    state = json.dumps(state_of(own, "" if alone else folder_id), ensure_ascii=False)
    tags = {KIND: "custom_model_development", PREFIX + key: state}
    there = {tag["key"]: tag["value"] for tag in _experiment(server, experiment).get("tags", [])}
    for name, value in tags.items():
        if there.get(name) != value:
            _ask(server, "experiments/set-experiment-tag", {"experiment_id": experiment, "key": name, "value": value})
    place = f"{server}/#/experiments/{experiment}/runs"
    parents = [run["info"]["run_id"] for run in own if PARENT not in _tags(run)]
    return [
        f"{place}?{urlencode({'viewStateShareKey': key, 'compareRunsMode': 'CHART', **WORKFLOW})}",
        *(f"{place}/{run}?{urlencode(WORKFLOW)}" for run in parents[:1]),
    ]


def _runs_of(server: str, experiment: str, folder_id: str) -> list[Run]:
    """However many others the server has in the experiment."""
    words = {"experiment_ids": [experiment], "filter": f"tags.`{FOLDER}` = '{folder_id}'", "max_results": MOST}
    found: list[Run] = []
    while True:
        answer = _ask(server, "runs/search", words)
        found += answer.get("runs", [])
        if not answer.get("next_page_token"):
            return found
        words |= {"page_token": answer["next_page_token"]}


def state_of(runs: Sequence[Run], folder_id: str) -> dict[str, Any]:
    """The page's state: the runs that are compared, a chart for each metric that they are compared by, and the images.

    The folder's own run is left out, and runs are not in the order of their start: the UI would show those below another one
    only where somebody has opened it.

    Args:
        folder_id: where other folders' runs are in the experiment as well, else empty.
    """
    points = [metric for run in runs for metric in run["data"].get("metrics", [])]
    curves = {str(metric["key"]) for metric in points if int(metric.get("step", 0)) > 0}
    searched = any(_tags(run).get(ROLE) == "candidate" for run in runs)
    charts = [
        _chart(name, number, "LINE" if name in curves and not searched else "BAR")
        for number, beginnings in enumerate(SECTIONS.values())
        for name in _in_order(metric["key"] for metric in points)
        if name.startswith(beginnings) and not name.endswith(LEFT_OUT) and name not in _not_compared(runs)
    ]
    order, differ = _deciding(points), _differing(runs)
    charts += [_parallel(_of_all(runs, differ), order)] if searched and order and _of_all(runs, differ) else []
    images = [_images(*IMAGES)] if any("mlflow.loggedImages" in _tags(run) for run in runs) else []
    shown = {chart.get("metricKey") for chart in charts}
    others = [name for name in _in_order(metric["key"] for metric in points) if name not in shown]
    hidden = [card | {"deleted": True} for card in [*(_chart(name, 0, "BAR") for name in others), *map(_images, IMAGES)]]
    return {
        "searchFilter": _filter(runs, folder_id),
        "orderByKey": f"metrics.`{order}`" if order else BY_NAME,
        "orderByAsc": not order,
        "selectedColumns": [*([f"metrics.`{order}`"] if order else []), *(f"params.`{name}`" for name in differ), MODELS],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [*charts, *images, *hidden],
        "compareRunSections": [
            _section(name, number)
            for number, name in enumerate(SECTIONS)
            if any(card["metricSectionId"] == _id(number) for card in [*charts, *images])
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _compared(runs: Sequence[Run]) -> Sequence[Run]:
    """All but the folder's own; those of an earlier version have no role."""
    return [run for run in runs if _tags(run).get(ROLE, OWN) != OWN] or runs


def _not_compared(runs: Sequence[Run]) -> set[str]:
    """Metrics that no chart shows anything of: the folder's own alone has them, or they are angles of 0 throughout."""
    values: dict[str, list[float]] = {}
    for run in _compared(runs):
        for metric in run["data"].get("metrics", []):
            values.setdefault(str(metric["key"]), []).append(float(metric.get("value", "nan")))
    every = {str(metric["key"]) for run in runs for metric in run["data"].get("metrics", [])}
    still = {name for name, own in values.items() if name.startswith("angle/") and all(value < NO_ANGLE for value in own)}
    return (every - values.keys()) | still


def _deciding(points: Sequence[Mapping[str, Any]]) -> str:
    """The metric that runs are listed by; empty where there is none."""
    names = _in_order(metric["key"] for metric in points)
    return next((name for beginning in DECIDING for name in names if _is(name, beginning)), "")


def _is(name: str, beginning: str) -> bool:
    return name == beginning or (beginning.endswith("_") and name.startswith(beginning) and not name.endswith(LEFT_OUT))


def _differing(runs: Sequence[Run]) -> list[str]:
    """Parameters in which the compared runs differ, those first that were noted first."""
    told = [_params(run) for run in _compared(runs)]
    names = dict.fromkeys(name for own in told for name in own if name not in NAMED)
    return [name for name in names if len({own.get(name) for own in told}) > 1][:COLUMNS]


def _of_all(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Those of the parameters that every compared run has: MLflow draws no line for another."""
    return [name for name in names if all(name in _params(run) for run in _compared(runs))]


def _params(run: Run) -> dict[str, str]:
    return {own["key"]: own["value"] for own in run["data"].get("params", [])}


def _filter(runs: Sequence[Run], folder_id: str) -> str:
    """MLflow's words for the runs that are compared; those of an earlier version have no role."""
    parts = [f"tags.{ROLE} != '{OWN}'"] if any(_tags(run).get(ROLE, OWN) != OWN for run in runs) else []
    return " and ".join([*parts, *([f"tags.`{FOLDER}` = '{folder_id}'"] if folder_id else [])])


def _id(section: int) -> str:
    return f"section-{section}"


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def _section(name: str, number: int) -> dict[str, Any]:
    own = {"uuid": _id(number), "name": name, "display": True}
    wide = {"columns": 1, "cardHeight": 1000 if name == LOOKED_AT else 500}  # images need room
    own |= {"columns": 2, "cardHeight": 400} if SECTIONS[name] else wide
    return own | {"isReordered": True, "deleted": False, "isGenerated": False}


def _card(name: str, number: int, kind: str) -> dict[str, Any]:
    own = {"uuid": f"{kind.lower()}-{name}", "type": kind, "metricSectionId": _id(number), "runsCountToCompare": 50}
    return own | {"deleted": False, "isGenerated": False}


def _chart(name: str, number: int, kind: str) -> dict[str, Any]:
    chart = _card(name, number, kind) | {"metricKey": name}
    if kind == "BAR":
        return chart
    return chart | {
        "selectedMetricKeys": [name],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _parallel(names: Sequence[str], metric: str) -> dict[str, Any]:
    """A line for each candidate through its settings, to what it came to."""
    chosen = {"selectedParams": list(names), "selectedMetrics": [metric], "showAllRuns": False}
    return _card("settings", list(SECTIONS).index(SETTINGS), "PARALLEL") | chosen


def _images(*names: str) -> dict[str, Any]:
    """A grid of runs and images, with a slider for the step."""
    return _card(" ".join(names), list(SECTIONS).index("What the ENN looks at"), "IMAGE") | {
        "imageKeys": list(names),
        "step": 0,
    }


def _tags(run: Run) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}


def _experiment(server: str, experiment: str) -> dict[str, Any]:
    return _ask(server, f"experiments/get?{urlencode({'experiment_id': experiment})}").get("experiment", {})


def _ask(server: str, what: str, words: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of MLflow's REST interface.

    Raises:
        OSError: there is none.
    """
    data = None if words is None else json.dumps(words).encode()
    request = Request(f"{server}/api/2.0/mlflow/{what}", data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=SECONDS) as answer:
        return json.loads(answer.read() or b"{}")
