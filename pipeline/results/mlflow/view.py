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
SECTIONS = {
    "Validation data": ("val/",),
    "Test set": ("test/accuracy", "test/difference"),
    "Found": ("gain", "rank_correlation", "kendall_", "best/"),
    "What the ENN looks at": (),
    "Instruction": ("instruction/", "train/gradient_norm", "predicted/", "angle/"),
    "The ENN's training": ("kendall/", "error/", "score/", "unrolled/loss/"),
}
"""charts by the beginnings of what they show, and the images, which have none; what begins otherwise has no chart"""
LEFT_OUT = ("_low", "_high", "_spread")
DECIDING, BY_NAME = ("test/accuracy", "val/accuracy"), "attributes.run_name"
"""what runs are listed by, best first; the first of them that there is"""
IMAGES = ("weights", "gradcam")
COLUMNS = ("metrics.`test/accuracy`", "metrics.`val/accuracy`", "params.`strength`", "params.`lambda`", "attributes.`Models`")
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
    found = _ask(server, "runs/search", {"experiment_ids": [experiment], "max_results": 1000}).get("runs", [])
    own = [run for run in found if _tags(run).get(FOLDER) == folder_id]
    key = f"grad-instructor-{folder_id[:8]}"
    state = json.dumps(state_of(own, folder_id if len(own) < len(found) else ""), ensure_ascii=False)
    tags = {KIND: "custom_model_development", PREFIX + key: state}
    there = {tag["key"]: tag["value"] for tag in _experiment(server, experiment).get("tags", [])}
    for name, value in tags.items():
        if there.get(name) != value:
            _ask(server, "experiments/set-experiment-tag", {"experiment_id": experiment, "key": name, "value": value})
    place = f"{server}/#/experiments/{experiment}/runs"
    parents = [run["info"]["run_id"] for run in own if PARENT not in _tags(run)]
    return [
        f"{place}?{urlencode({'viewStateShareKey': key, 'compareRunsMode': 'CHART'})}",
        *(f"{place}/{run}" for run in parents[:1]),
    ]


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
        if name.startswith(beginnings) and not name.endswith(LEFT_OUT) and not name.startswith("test/accuracy/")
    ]
    images = [_images(*IMAGES)] if any("mlflow.loggedImages" in _tags(run) for run in runs) else []
    shown = {chart["metricKey"] for chart in charts}
    others = [name for name in _in_order(metric["key"] for metric in points) if name not in shown]
    hidden = [card | {"deleted": True} for card in [*(_chart(name, 0, "BAR") for name in others), *map(_images, IMAGES)]]
    measured = {metric["key"] for metric in points}
    order = next((f"metrics.`{name}`" for name in DECIDING if name in measured), BY_NAME)
    return {
        "searchFilter": _filter(runs, folder_id),
        "orderByKey": order,
        "orderByAsc": order == BY_NAME,
        "selectedColumns": list(COLUMNS),
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
    own |= {"columns": 2, "cardHeight": 400} if SECTIONS[name] else {"columns": 1, "cardHeight": 1000}  # images need room
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


def _images(*names: str) -> dict[str, Any]:
    """A grid of runs and images, with a slider for the step."""
    return _card(" ".join(names), list(SECTIONS.values()).index(()), "IMAGE") | {"imageKeys": list(names), "step": 0}


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
