"""Every combination of the choices, in order (:class:`pipeline.search.propose.Proposals` puts them into the study)."""

from pipeline.search.samplers.form import Form
from pipeline.search.samplers.random import make

SAMPLER = Form(says="every combination, where each setting has a `choice`", make=make)
