"""Learning from recorded populations: recording them, learning from them, measuring what was learned, judging candidates."""

from rl.offline.gains import gain, instruct_targets
from rl.offline.learning import Learning
from rl.offline.measurements import measure
from rl.offline.predicted import predicted
from rl.offline.recorded import Recorded
from rl.offline.recording import play_round, record, record_rounds
from rl.offline.stages import Trained, judge
from rl.offline.training import learn_from_recordings

__all__ = [
    "Learning",
    "Recorded",
    "Trained",
    "gain",
    "instruct_targets",
    "judge",
    "learn_from_recordings",
    "measure",
    "play_round",
    "predicted",
    "record",
    "record_rounds",
]
