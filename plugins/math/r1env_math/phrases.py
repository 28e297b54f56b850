"""How answers are announced, hedged, denied and taken back, in the languages that models answer in.

Bounded repetitions only: the text is a model's. A pattern of the form "the answer … is" may span 60 characters of its sentence.
"""

from __future__ import annotations

import re

_GAP = r"[^.\n。！？!?：:]{0,60}?"
_MARK = r"\s{0,3}[:：=]"
_STARS = r"[*_]{0,3}"

_ANNOUNCEMENTS = {
    "any": (r"####", r"【(?:答案|解答|正解|정답|答え)】[:：]?"),
    "en": (
        r"\banswer is not [^.,\n]{1,30}?,? but(?: rather)?(?= )",
        rf"\b(?:answer(?!ed\b|ing\b)|result|solution){_STARS}{_GAP}\b(?:is|equals|are|=|would be|should be|will be|must be|comes (?:out )?to(?: be)?|turns out to be|has to be){_STARS}(?:\s{{0,3}}:)?(?![a-zA-Z])",
        r"[\"']answer[\"']\s{0,2}:\s{0,2}[\"']?",
        rf"\banswer \([^()\n]{{1,30}}\){_STARS}{_MARK}",
        rf"\b(?:required|desired|requested|sought|resulting|final|correct) (?:value|number|amount|total|quantity|sum|probability|area|length|time|cost|price){_GAP}\b(?:is|equals){_STARS}",
        rf"\b(?:answers?|result|Ans){_STARS}{_MARK}",
        r"(?:(?<=\n)|^)[ \t*_>]{0,6}(?:A|Ans)[*_]{0,3}\s?[:：]",
        r"(?:(?<=\n)|^)[ \t*_>]{0,6}Ans[*_]{0,3}\.(?=\s)",
    ),
    "zh": (r"(?:答案|结果)不是[^，。,\n]{1,30}[，,]\s?而是", rf"(?:答案|结果){_GAP}(?:是|为|等于)\s?[:：]?", rf"(?:答案|答|结果){_STARS}{_MARK}"),
    "ja": (rf"(?:答え|解答|答|正解){_GAP}は(?!ない)", rf"(?:答え|解答|答|正解){_STARS}{_MARK}"),
    "ko": (rf"(?:정답|답|결과){_GAP}(?:은|는|이|가)\s", rf"(?:정답|답){_STARS}{_MARK}"),
    "fr": (rf"\b(?:réponse|résultat|solution){_STARS}{_GAP}\b(?:est|vaut){_STARS}\s?:?", rf"\bréponse(?: finale)?{_STARS}{_MARK}"),
    "de": (
        rf"\b(?:Antwort|Ergebnis|Lösung){_STARS}{_GAP}\b(?:ist|lautet|beträgt){_STARS}\s?:?",
        rf"\b(?:Antwort|Ergebnis|Lösung){_STARS}{_MARK}",
    ),
    "es": (rf"\b(?:respuesta|resultado|solución){_STARS}{_GAP}\b(?:es|son){_STARS}\s?:?", rf"\b(?:respuesta|resultado)(?: final)?{_STARS}{_MARK}"),
    "pt": (rf"\b(?:resposta|resultado|solução){_STARS}{_GAP}(?:\bé|\bsão){_STARS}\s?:?", rf"\b(?:resposta|resultado)(?: final)?{_STARS}{_MARK}"),
    "it": (rf"\b(?:risposta|risultato|soluzione){_STARS}{_GAP}(?:\bè|\bsono){_STARS}\s?:?", rf"\b(?:risposta|risultato)(?: finale)?{_STARS}{_MARK}"),
    "ru": (rf"(?:ответ|результат)(?:ом)?{_STARS}\s{{0,3}}[:：—–-]", rf"(?:ответ|результат){_GAP}(?:это|равен|равно|является)\s?:?"),
    "uk": (rf"(?:відповідь|результат){_STARS}\s{{0,3}}[:：—–-]", rf"(?:відповідь|результат){_GAP}(?:це|дорівнює)\s?:?"),
    "ar": (rf"(?:الجواب|الإجابة|الناتج|النتيجة|ناتج|الحل){_GAP}(?:هو|هي|تساوي|يساوي)\s?:?", rf"(?:الجواب|الإجابة|الناتج|جواب|إجابة){_STARS}{_MARK}"),
    "fa": (rf"(?:پاسخ|جواب){_STARS}{_MARK}",),
    "he": (rf"(?:התשובה|תשובה){_STARS}{_MARK}", rf"התשובה{_GAP}(?:היא|הוא)\s?:?"),
    "hi": (rf"(?:उत्तर|जवाब|परिणाम){_STARS}{_MARK}", rf"(?:उत्तर|जवाब|परिणाम){_GAP}(?:है|होगा)\s?[:：]", r"(?:उत्तर|जवाब)\s(?=[-$\\0-9०-९*])"),
    "bn": (rf"উত্তর{_STARS}{_MARK}", rf"উত্তর{_GAP}(?:হল|হলো|হবে)\s?:?", r"উত্তর\s(?=[-$\\0-9০-৯*])"),
    "te": (rf"(?:సమాధానం|జవాబు){_STARS}{_MARK}", r"(?:సమాధానం|జవాబు)\s(?=[-$\\0-9*])"),
    "ta": (rf"(?:பதில்|விடை){_STARS}{_MARK}",),
    "th": (rf"คำตอบ{_STARS}{_MARK}", rf"คำตอบ{_GAP}(?:คือ|เท่ากับ)\s?:?", r"ตอบ\s(?=[-$\\0-9*])"),
    "sw": (rf"\b(?:jibu|majibu){_STARS}{_MARK}", rf"\bjibu{_GAP}\b(?:ni|lake ni){_STARS}\s?:?"),
    "tr": (rf"\b(?:cevap|cevabı|yanıt|sonuç){_STARS}{_MARK}", r"\b(?:cevap|yanıt|sonuç)\s(?=[-$\\0-9*])"),
    "vi": (rf"(?:đáp án|đáp số|kết quả|câu trả lời|trả lời){_STARS}{_MARK}", rf"(?:đáp án|đáp số|kết quả|câu trả lời){_GAP}\blà{_STARS}\s?:?"),
    "id": (rf"\b(?:jawaban|jawabannya|hasilnya){_STARS}{_MARK}", rf"\bjawaban(?:nya)?{_GAP}\badalah{_STARS}\s?:?"),
    "nl": (rf"\b(?:antwoord|resultaat){_STARS}{_MARK}", rf"\bantwoord{_STARS}{_GAP}\bis{_STARS}\s?:?"),
    "sv": (rf"\b(?:svar|svaret|facit){_STARS}{_MARK}", rf"\bsvaret{_STARS}{_GAP}\b(?:är|er){_STARS}\s?:?"),  # da, no too
    "fi": (rf"\bvastaus{_STARS}{_MARK}", rf"\bvastaus{_STARS}{_GAP}\bon{_STARS}\s?:?"),
    "pl": (rf"\b(?:odpowiedź|odp\.?|wynik){_STARS}{_MARK}", rf"\b(?:odpowiedź|wynik){_STARS}{_GAP}\b(?:to|wynosi|jest){_STARS}\s?:?"),
    "cs": (rf"\b(?:odpověď|odpoveď|výsledek|výsledok){_STARS}{_MARK}", rf"\b(?:odpověď|výsledek){_STARS}{_GAP}\bje{_STARS}\s?:?"),
    "hu": (rf"\b(?:válasz|eredmény|megoldás){_STARS}{_MARK}", r"\b(?:válasz|eredmény)\s(?=[-$\\0-9*])"),
    "ro": (rf"\b(?:răspuns|răspunsul|rezultat){_STARS}{_MARK}", rf"\brăspunsul{_STARS}{_GAP}\beste{_STARS}\s?:?"),
    "el": (rf"απάντηση{_STARS}{_MARK}", rf"απάντηση{_GAP}είναι\s?:?"),
    "bg": (rf"(?:отговор|отговорът){_STARS}{_MARK}", rf"отговорът{_GAP}\bе{_STARS}\s?:?"),
}  # fmt: skip

_LABELS = (
    r"(?:the )?(?:final |correct )?answers?|ans|final result|(?:最终)?答案|答|最终结果|答え|解答|正解|정답|답|réponse(?: finale)?|(?:endgültige )?antwort|endergebnis|"
    r"respuesta(?: final)?|resposta(?: final)?|risposta(?: finale)?|ответ|відповідь|الجواب|الإجابة|उत्तर|উত্তর|సమాధానం|คำตอบ|jibu|cevap|đáp án|đáp số|"
    r"jawaban|antwoord|svar|vastaus|odpowiedź|odpověď|válasz|răspuns|απάντηση|תשובה"
)
_HEADING = (
    rf"(?:(?<=\n)|^)[ \t]{{0,3}}(?:#{{1,6}}[ \t]?)?[*_]{{0,3}}(?:{_LABELS})[*_]{{0,3}}[:：]?[*_]{{0,3}}[ \t]{{0,3}}(?=\n)"
)

ANNOUNCEMENT = re.compile(
    "|".join((*(f"(?:{pattern})" for each in _ANNOUNCEMENTS.values() for pattern in each), f"(?:{_HEADING})")), re.IGNORECASE
)
"""What announces a final answer. Each pattern ends where the answer begins; a heading ends its line."""

_HINT_WORDS = (
    "answer|result|solution|ans|####|a:|a :|a*|a：|答|结果|正解|답|결과|réponse|résultat|antwort|ergebnis|lösung|respuesta|"
    "resultado|solución|resposta|solução|risposta|risultato|soluzione|ответ|результат|відповідь|جواب|جابة|ناتج|نتيج"
    "ة|حل|پاسخ|תשובה|उत्तर|जवाब|परिणाम|উত্তর|సమాధానం|జవాబు|பதில்|விடை|ตอบ|jibu|cevap|cevab|yanıt|sonuç|đáp|kết quả|"
    "trả lời|jawaban|hasilnya|resultaat|svar|facit|vastaus|antwoord|odp|wynik|výsled|válasz|eredmény|megoldás|răspuns|rezult"
    "at|απάντηση|отговор|required|desired|requested|sought|resulting|final|correct"
)
_HINTS = tuple(_HINT_WORDS.split("|"))


def may_announce(text: str) -> bool:
    """Return whether any word of an announcement occurs at all: a quick look before `ANNOUNCEMENT` is searched for."""
    folded = text.lower()
    return any(hint in folded for hint in _HINTS)


FINAL = re.compile(r"final|####|最终|最后|最終|최종|endgültig|итог|окончательн|النهائي|अंतिम|cuối cùng", re.IGNORECASE)
"""In an announcement: it outranks an earlier one that has no such word."""

WEAK = re.compile(
    r"^\W*(?:required|desired|requested|sought|resulting|final (?:value|number|amount|total|quantity)|result|solution|结果|결과|résultat|ergebnis|lösung|resultado|solución|solução|risultato|soluzione|результат|النتيجة|परिणाम)",
    re.IGNORECASE,
)
"""How an announcement of an intermediate result may begin: a later answer outranks it."""

_AFTERWORDS = (
    r"です|である|となります|になります|でした|だ|입니다|이다|예요|이에요|है|हैं|होगा|।|হবে|ครับ|ค่ะ|dır|dir|dur|dür|tır|tir|'?tür|'?dür|'?dir|'?dır",
    r"\s?I hope it is correct",
)
AFTERWORD = re.compile(rf"\s*(?:{'|'.join(_AFTERWORDS)})[.。!]?\s*$")
"""What may follow an answer in its sentence and says nothing."""

HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|might|not sure|either|unless|I guess|I think|or else|could be|unsure|"
    r"peut-être|vielleicht|quizás|tal vez|talvez|forse|возможно|может быть|misschien|kanske|måske|kanskje|może|możda|ehkä|belki|mungkin)\b"
    r"|可能|也许|或许|大概|かもしれ|たぶん|아마|ربما|शायद|হয়তো|có thể|อาจ|labda",
    re.IGNORECASE,
)
"""What takes an answer back as it gives it."""

_NEGATIONS = (
    r"is not|isn't|isnt|is never|was not|wasn't|are not|aren't|cannot be|can't be|could not be|couldn't be|must not be|mustn't be|should not be|"
    r"shouldn't be|does not equal|doesn't equal|not equal to|\bnot\b|anything but|other than|rather than|instead of|"
    r"n'est pas|ne vaut pas|ist nicht|\bnicht|no es|não é|non è|не равен|не равно|\bне\b|не является|不是|不等于|并非|ではない|ليس|नहीं"
)
DENIED_BEFORE = re.compile(
    rf"(?:\b(?:if|suppose|supposing|assume|assuming|imagine)\s(?:that\s)?(?:the |our |my )?(?:final |correct )?(?:answer|result|value|solution|it)\s(?:were|was|is|be)|"
    rf"{_NEGATIONS})\s?(?:be|equal to|the answer|the correct answer|correct to say|simply|just)?\s?[:：]?[\s$(\[*\\]{{0,4}}\Z",
    re.IGNORECASE,
)
"""Ends the text before an answer that is denied: "It is not …"."""

NEGATED = re.compile(
    r"(?:\b(?:no|não|non|nicht|pas|не|nie|inte|ikke|niet|nem|nu|ne|ei|not)|n't|不|没|沒|并非|非|ليس|नहीं|không|ไม่|নয়|కాదు|değil|bukan|tidak)\s?(?:[^\W\d_]{1,9})?\s?[:：]?\s?\Z",
    re.IGNORECASE,
)
"""Ends an announcement that denies: "la respuesta no es"."""

DENIAL = re.compile(
    r"\s*[$(]{0,2}\s?(?:\\text\s?\{\s?)?(?:(?:certainly|definitely|clearly|surely|obviously|really|simply|just|equal to)\s){0,2}"
    r"(?:(?:not|never|(?:any|every)thing (?:but|except|other than)|(?:all|none) but|other than|different from|unequal to|nicht|pas|non|не)(?![^\W\d_])"
    r"|\\neq?(?![a-zA-Z])|\\not(?![a-zA-Z])|≠|!=|不是|不等于|并非)"
    r"\s?(?:be\s|equal to\s)?[^\w]{0,12}(?:[0-9]|[a-zA-Z](?![a-zA-Z])|(?<=\\)[a-zA-Z]|(?<=[(\[{])\w)",
    re.IGNORECASE,
)
"""Begins a text that says which number, letter or formula the answer is not: "anything but 42", `\\neq B`."""

SUPPOSED_BEFORE = re.compile(
    r"(?:\b(?:maybe|perhaps|possibly|probably|suppose|assume|imagine|let's say|let us say|say|guess|guessed|if|whether|pretend|hypothesi[sz]e|"
    r"false|wrong|incorrect|untrue|not true|not the case|doubt|unlikely|impossible|deny|denied|"
    r"says?|said|claims?|claimed|thinks?|thought|believes?|believed|angenommen|supposons|supongamos|suponha|supponiamo)\b"
    r"(?:\s(?:that|dass|que|che))?(?:\s(?:the|my|our|your|his|her|die|das|la|le|el|a|o|correct|final|right|initial|first|wrong|naive)){0,3}"
    r"|(?:假设|假如|如果|若|设|假定|предположим,? что|допустим,? что|仮に|만약))[ ,，:*_]{0,4}\Z",
    re.IGNORECASE,
)
"""Ends the text before an announcement that asserts nothing: "Suppose the …", "It is false that the …"."""

_WRONG = (
    r"wrong|incorrect|false|a mistake|an error|mistaken|inconsistent|contradict\w*|"
    r"impossible|invalid|untrue|off by|my (?:first|initial|original|earlier) (?:try|guess|attempt|thought|idea)|too (?:large|small|big|high|low|many|few)|"
    r"(?:cannot|can't|can not|could not|couldn't) (?:possibly |really )?(?:be|have been) (?:right|correct|true|so|it|the (?:right |correct )?answer)|"
    r"(?:not|isn't|wasn't|aren't) (?:quite |really |actually )?(?:right|correct|true|it|the (?:final |right |correct )?answer)|(?:does not|doesn't|did not|didn't|cannot|can't) (?:work|hold|fit|satisfy|make sense|check out)|"
    r"ne peut pas être|kann nicht|stimmt nicht|no puede ser|não pode ser|non può essere|не может быть|不可能|不成立|faux|falsch|incorrecto|errado|sbagliato|неверно|неправильно|ошиб\w*|错|不对|不正确|有误|틀렸|誤り|間違"
)
RETRACTION = re.compile(
    rf"^[\s$.,;:!()\]}}*_。，…—–-]{{0,12}}(?:(?:but |and |so |oh |oops,? |hmm,? |no,? |well,? ){{0,3}}"
    rf"(?:(?:is|was|are|would be|seems?|looks?|must be|can't be|cannot be|that|this|it|which|that's|this is|that is|that was|it's|it is|the above|above|my answer)\s){{0,3}}(?:clearly |obviously |actually |definitely )?(?:[这那它此]个?(?:答案|结果)?(?:是|显然)?)?"
    rf"(?:{_WRONG}|not (?:really|quite|exactly)\b)"
    r"|(?:but |oh |oops|hmm+,? |no,? |ah,? |uh,? ){0,2}(?:wait|hold on|actually|no[,.! ]|scratch that|correction|let me (?:re|double|correct|fix|try again)|"
    r"i made|i was wrong|i miscalculated|on (?:second thoughts?|reflection)|oops|my mistake|sorry|strike that|strictly that|rather[,:]|"
    r"attends|non,|warte|moment|nein|espera|espere|aspetta|подожди\w*|нет,|стоп|等等|等一下|不对|不，|错了|待って|いや|잠깐|아니))",
    re.IGNORECASE,
)
"""Begins the text behind an answer that is taken back: "… is wrong", "Wait, …"."""

COUNTERFACTUAL = re.compile(
    r"(?:\A|[.!?\n]\s*)(?:but |and )?(?:had |were |if (?:we|one|you|i|it|they|there|he|she|this|that|the \w{1,20}) (?:had|were|did|took|forgot|could|\w{2,12}ed)\b)[^.!?\n]{0,150}\Z",
    re.IGNORECASE,
)
"""Ends the text before "the answer would be": what would be so, and is not."""

WRONG_LATER = re.compile(
    rf"(?:\b(?:that|this|which|it|the above|the first|my first)(?:'s| is| was| leads to| gives)?\s(?:clearly |obviously |actually )?(?:a |an )?(?:{_WRONG})|\bcontradiction\b|矛盾|противореч|widerspruch)",
    re.IGNORECASE,
)
"""Within the two sentences behind an answer: it is taken back."""

CONFIRMED = re.compile(
    r"\b(?:is|was|it's|that's|seems|looks|so|yes,?|still|indeed)\s(?:(?!(?:not|never|no|hardly)\b)\w+\s){0,2}(?:right|correct|fine|good|consistent|confirmed|holds|matches|the same|checks? out)\b|"
    r"\bconfirm(?:s|ed)\b|\bcheck(?:s|ed)? out\b|(?<!不)正确|没错|\bcorrecto|(?<!nicht )\brichtig|\bверно(?!\w)",
    re.IGNORECASE,
)
"""In what follows a second thought: the answer stands."""

NEXT_PROBLEM = re.compile(
    r"\n\s{0,3}(?:[*_#]{0,4}\s?)(?:Question|Problem|Exercise|Example|Q|Human|User|问题|题目|問題|问|문제|Frage|Pregunta|Вопрос|Задача)\s?(?:[0-9]{1,3})?[*_]{0,3}\s?[:：.]|\nHuman:",
    re.IGNORECASE,
)
"""Where a base model goes on with a question of its own."""

CONCLUSION = re.compile(
    r"^(?:solution(?=\s?:)|(?:so,? |thus,? |hence,? |therefore,? )?(?:i|we) (?:get|obtain|have|find)|so|thus|therefore|hence|consequently|which gives|we get|this gives|it follows that|in conclusion|所以|因此|故|从而|综上|综上所述|于是|"
    r"donc|also|daher|folglich|somit|por lo tanto|portanto|quindi|dunque|следовательно|поэтому|итак|よって|したがって|ゆえに|따라서|그러므로|अतः|لذا|إذن|∴|⇒|=>|→|\\therefore)[\s,，:：]{0,3}",
    re.IGNORECASE,
)
"""How a line that concludes may begin."""

_PERCENT_WORDS = (
    r"per ?cent(?:age|ile|s)?|pourcentage|pour cent|prozent(?:satz)?|porcentaje|por ciento|porcentagem|por cento|percentuale|per cento|процент\w*|"
    r"百分之几|百分之多少|百分比|百分率|百分数|パーセント|何%|何％|퍼센트|백분율|نسبة مئوية|النسبة المئوية|प्रतिशत|শতাংশ|శాతం|เปอร์เซ็นต์|asilimia|yüzde|phần trăm|persen|procent\w*|prosent\w*|procento|százalék\w*|τοις εκατό"
)
_PERCENT_ASKED = re.compile(
    rf"(?<![0-9])(?<![0-9] )(?:{_PERCENT_WORDS})(?! (?:discount|off|interest|tax|increase of|solution|points?)\b)|(?:as|in) (?:a )?%|what %|how many %|多少%|几%",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\?|？|\b(?:what|how|which|find|give|express|write|determine|compute|calculate|state|answer|report|convert|estimate)\b|求|多少|几|何|몇|quel|combien|wie ?viel|cuál|cuánto|qual|quant|"
    r"сколько|какой|найдите|कितन|কত|เท่าไร|bao nhiêu|kaç|berapa|hvor|hur|kuinka|ile|kolik|hány|cât",
    re.IGNORECASE,
)
_AS_OTHER = re.compile(r"as (?:a |an )?(?:\w+ ){0,2}(?:fraction|decimal|ratio)|how many (?!percent)", re.IGNORECASE)
_SENTENCES = re.compile(r"(?<=[.?!。？！\n])\s*")


def asks_for_percent(question: str) -> bool:
    """Return whether a question wants its answer as a percentage. A percentage that is given ("a 20 % discount") is none that is asked."""
    if "%" not in question and not re.search(_PERCENT_WORDS, question, re.IGNORECASE):
        return False
    return any(
        _ASKS.search(sentence) and _PERCENT_ASKED.search(sentence) and not _AS_OTHER.search(sentence)
        for sentence in _SENTENCES.split(question[-4000:])
    )


_COMMA_WORDS = re.compile(
    r"[а-яё]{3}|\b(?:wie|viele?|ist|der|die|das|und|beträgt|antwort|ergebnis|lautet|combien|quel(?:le)?|est|les|des|réponse|résultat|cuánt[oa]s?|cuál|el|los|respuesta|quant[oaie]s?|qual|"
    r"resposta|é|são|risposta|il|della|ile|jaka?|odpowiedź|wynosi|hoeveel|het|antwoord|hur|många|svaret?|svar|hvor|mange|mye|kuinka|paljonko|vastaus|kolik|odpověď|je|hány|mennyi|válasz|"
    r"cât[ei]?|răspuns|kaç|cevap|berapa|jawaban|bao|đáp|πόσ\w+)\b",
    re.IGNORECASE,
)
_POINT_WORDS = re.compile(r"\b(?:the|what|how|many|much|find|of|is|are|answer|give|all)\b", re.IGNORECASE)


def writes_decimal_comma(text: str) -> bool:
    """Return whether a text is in a language whose decimals have a comma, as far as its commonest words tell."""
    head = text[:2000]
    return len(_COMMA_WORDS.findall(head)) > len(_POINT_WORDS.findall(head))


REACH = 300
"""Characters behind an answer in which it may be taken back."""


def is_denied(text: str, at: int) -> bool:
    """Return whether "It is not" stands before a place."""
    return DENIED_BEFORE.search(text[max(0, at - 60) : at]) is not None


def is_retracted(text: str, at: int) -> bool:
    """Return whether what follows a place takes back what stands before it, and does not confirm it after all."""
    rest = text[at : at + REACH]
    if RETRACTION.match(rest):
        return not _is_confirmed(text, at)
    sentences = re.split(r"(?<=[.!?。！？])\s+|\n+", rest.lstrip("$.,;:)]*} \n"), maxsplit=3)[:3]
    for sentence in sentences:
        if ANNOUNCEMENT.search(sentence) or "\\boxed" in sentence:
            return False
        if option := _OPTION.match(sentence):
            if not re.search(rf"(?<![^\W_]){option[1]}(?![^\W_])", text[max(0, at - 40) : at]):
                continue  # "The answer is D. A is wrong."
            sentence = sentence[option.end() :]
        if RETRACTION.match(sentence) or WRONG_LATER.search(sentence):
            return not _is_confirmed(text, at)
    return False


_OPTION = re.compile(r"(?:(?i:option|choice) |答案|选项)?\(?([A-J])\)?(?:\s|(?=[是不错]))")
_SUBJECT = re.compile(r"(?<![\w.])([0-9](?:[0-9.,/]*[0-9])?|[A-J])\s?\Z")


def _is_confirmed(text: str, at: int) -> bool:
    """Return whether what follows a place says that the answer is right after all, and not that another one is: "no, 43 is right"."""
    rest = text[at : at + REACH]
    confirmed = CONFIRMED.search(rest)
    if confirmed is None:
        return False
    subject = _SUBJECT.search(rest[max(0, confirmed.start() - 40) : confirmed.start()])
    return subject is None or re.search(rf"(?<![\w.]){re.escape(subject[1])}(?!\w)", text[max(0, at - 200) : at]) is not None
