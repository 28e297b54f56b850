"""Languages are entries of one table, found by any of their names."""

from __future__ import annotations

import pickle

import pytest

from r1env_sandbox import Submission, TestCase, Verdict, images
from r1env_sandbox.backends.docker import connect
from r1env_sandbox.languages import DEFAULT_LANGUAGES, LANGUAGES, UnknownLanguageError, find_language, packages_of


@pytest.mark.parametrize(
    ("name", "language"),
    [("python", "python"), ("Python3", "python"), (" C++ ", "cpp"), ("c++20", "cpp20"), ("js", "javascript"), ("golang", "go")],
)
def test_a_language_is_found_by_name_or_alias_in_capitals_or_not(name, language):
    assert find_language(name).name == language


def test_no_name_means_two_languages():
    names = [name for spec in LANGUAGES.values() for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))


def test_a_language_that_there_is_not_is_named_with_those_there_are():
    with pytest.raises(UnknownLanguageError, match=r"unknown language 'cobol'; known: python, c, cpp,"):
        find_language("cobol")


def test_the_error_about_an_unknown_language_can_be_sent_to_another_process():
    error = UnknownLanguageError("klingon")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("spec", LANGUAGES.values(), ids=lambda spec: spec.name)
def test_what_is_compiled_is_what_is_run(spec):
    if spec.compile is None:
        assert spec.artifact is None
        assert "{source}" in spec.run
    else:
        assert spec.artifact is not None
        assert {"{source}", "{artifact}"} <= set(spec.compile)
        assert "{artifact}" in spec.run
    assert spec.environment["PATH"]


def test_an_image_always_has_python_and_the_default_languages_are_known():
    assert "python3" in packages_of(["c"])
    assert set(packages_of(["c"])) < set(packages_of(["c", "cpp", "rust"]))
    assert {find_language(name).name for name in DEFAULT_LANGUAGES} == set(DEFAULT_LANGUAGES)


ADD = {
    "python": "print(sum(map(int, input().split())))",
    "c": '#include <stdio.h>\n#include <math.h>\nint main(void) { double a, b; scanf("%lf %lf", &a, &b); printf("%g\\n", floor(a + b)); }',
    "cpp": "#include <bits/stdc++.h>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }",
    "cpp20": "#include <bits/stdc++.h>\nint main() { int s = 0; for (int x : std::views::istream<int>(std::cin)) s += x; "
    "std::cout << s << '\\n'; }",
    "java": "import java.util.*;\npublic class Main { public static void main(String[] a) { Scanner s = new Scanner(System.in); "
    "System.out.println(s.nextInt() + s.nextInt()); } }",
    "javascript": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number); console.log(a + b);",
    "go": 'package main\nimport "fmt"\nfunc main() { var a, b int; fmt.Scan(&a, &b); fmt.Println(a + b) }',
    "rust": "fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); "
    'println!("{}", s.split_whitespace().map(|x| x.parse::<i64>().unwrap()).sum::<i64>()); }',
    "bash": "read a b; echo $((a + b))",
}


@pytest.mark.docker
@pytest.mark.parametrize(
    "language", [pytest.param(name, marks=() if name in DEFAULT_LANGUAGES else pytest.mark.nightly) for name in LANGUAGES]
)
def test_every_language_that_the_image_holds_compiles_once_and_runs_each_test(language, spawning):
    client = connect()
    held = images.languages_of(client.images.get(spawning.describe()["image"]).labels)
    client.close()
    if language not in held:
        pytest.skip(f"the image holds {', '.join(sorted(held))}; `r1env-sandbox build --language {language}` adds it")
    tests = [TestCase.stdio("3 4\n", "7\n"), TestCase.stdio("30 4\n", "34\n")]
    result = spawning.judge(Submission(language=language, source=ADD[language]), tests)
    assert result.status is Verdict.ACCEPTED, result
    broken = spawning.judge(Submission(language=language, source=ADD[language] + "\n)("), tests)
    assert broken.status in (Verdict.COMPILE_ERROR, Verdict.RUNTIME_ERROR), broken
