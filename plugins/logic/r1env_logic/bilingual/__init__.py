"""Three small tasks asked in English or in Chinese, and small talk: R1's whole pipeline in a size that a laptop trains.

`phrases.py` holds the words, `tasks.py` and `small_talk.py` the environments, `demonstrators.py` the texts a model first learns from.
Digits are common to both languages, so what language a solution is in shows in its words alone.
"""
