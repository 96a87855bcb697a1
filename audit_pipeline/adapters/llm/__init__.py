"""The language model: asked within a budget and a deadline, or not at all.

`openrouter.py` asks one, `replay.py` answers from a recording, `NoLLM` is what there is without a
key. `prompt.py` is what leaves, `schema.py` what may come back, `http.py` one request, `retry.py`
when another one is made, `calls.py` the table and the budgets, `prices.py` what tokens cost. What
agents see of all this is `model/question.py`.
"""

from audit_pipeline.adapters.llm.openrouter import NoLLM as NoLLM
from audit_pipeline.adapters.llm.openrouter import OpenRouter as OpenRouter
from audit_pipeline.adapters.llm.openrouter import language_model as language_model
from audit_pipeline.adapters.llm.prices import calculate_cost as calculate_cost
from audit_pipeline.adapters.llm.replay import ReplayedLLM as ReplayedLLM
