"""The tiny models that speak two languages can read and write everything in the two-language tasks."""

from __future__ import annotations

import numpy as np
import pytest

from r1env.data.sources import iterate
from r1env_logic.bilingual.demonstrators import web
from r1env_logic.bilingual.small_talk import preference, small_talk_tasks
from r1env_logic.bilingual.tasks import addition_tasks, countdown_tasks, sort_tasks
from r1env_trainers.model import tiny
from r1env_trainers.model.load import load_model


@pytest.mark.parametrize("model", ["tiny-1m", "tiny-2m", "tiny-gpt2"])
def test_no_text_of_the_two_language_tasks_has_an_unknown_character(model):
    tokenizer = load_model(model).tokenizer
    for source in (sort_tasks, addition_tasks, countdown_tasks, small_talk_tasks):
        for index, task in enumerate(iterate(source(), 200)):
            rng = np.random.default_rng(index)
            replies = preference(task, rng) if source is small_talk_tasks else ()
            for text in (task.question, web(task, rng), *replies):
                ids = tokenizer(text)["input_ids"]
                assert tokenizer.unk_token_id not in ids
                assert tokenizer.decode(ids) == text


def test_the_vocabulary_of_the_first_tiny_model_has_not_moved():
    tokenizer = tiny.build_tokenizer()
    assert len(tokenizer) == 59
    assert tokenizer("0az<think>")["input_ids"] == [3, 13, 38, 55]
