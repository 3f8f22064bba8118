"""Who proposes candidates, one file each. A new one is a file with a ``SAMPLER``, and its line in
:data:`pipeline.names.SamplerName`; reading, checks, the guide and the tests of all samplers follow from it.

Nothing here imports optuna, scikit-learn or torch before a sampler is made: a search's file is read without them.
"""

from pipeline import names
from pipeline.search.samplers.form import Form

SAMPLERS: dict[str, Form] = names.registered(names.SamplerName, __name__, "SAMPLER")
"""by name"""

__all__ = ["SAMPLERS", "Form"]
