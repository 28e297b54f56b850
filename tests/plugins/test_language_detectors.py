"""Detectors that come with an extra take the place of the word lists; a missing extra is one line."""

from __future__ import annotations

import sys

import pytest

import r1env
from r1env_language import Language, consistency
from r1env_language.detectors import DETECTORS, get_detector

LIBRARIES = {"py3langid": "py3langid.langid", "lingua": "lingua"}


@pytest.mark.parametrize(("name", "module"), LIBRARIES.items())
def test_a_missing_extra_is_said_in_one_line_with_the_remedy(name, module, monkeypatch):
    get_detector.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(r1env.UsageError) as refusal:
        Language.with_options(detector=name)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(f"pip install 'r1env-language[{name}]'")


@pytest.fixture(params=DETECTORS)
def detector(request):
    if request.param in LIBRARIES:
        pytest.importorskip(LIBRARIES[request.param])
    return get_detector(request.param)


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("The number of apples is even. Le nombre de pommes est pair.", "en", 6 / 12),
        ("Die Zahl der Äpfel ist gerade. El número de manzanas es par.", "de", 6 / 12),
        ("Мы знаем, что это число чётное. Ми знаємо, що це число парне.", "ru", 6 / 12),
        ("我们知道这个数是偶数。これは偶数です。", "zh", 10 / 17),
        ("नमस्ते दुनिया और धन्यवाद", "hi", 1.0),
        ("The number is even. Yes. OK then.", "en", 1.0),
    ],
)
def test_every_detector_tells_sentences_apart(detector, text, target, expected):
    assert consistency(text, target, detector=detector).proportion == pytest.approx(expected, abs=0.01)


def test_every_detector_lets_short_sentences_go_with_their_surroundings(detector):
    assert consistency("Total. La réponse est égale à la somme des nombres. Total.", "fr", detector=detector).proportion == 1.0


def test_words_that_nothing_explains_have_no_language(detector):
    assert consistency("Gauss. Euler.", "zh", detector=detector).by_language == {"und": 2.0}
