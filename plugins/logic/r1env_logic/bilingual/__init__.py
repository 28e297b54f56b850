"""Three small tasks asked in English or in Chinese, and small talk: the whole pipeline of R1 at a size that a laptop can train.

`phrases.py` holds the words, `tasks.py` and `small_talk.py` the environments, and `demonstrators.py` the texts that a model learns
from first. Both languages use the same digits, so only the words show which language a solution is in.
"""
