"""Doors: who answers where several models serve a task, and that it is said."""

from __future__ import annotations

from pathlib import Path

from tests.served import client, serving

DIGIT = (Path(__file__).parent.parent / "samples" / "digits" / "7-000.png").read_bytes()


def test_the_default_bundle_of_the_task_answers() -> None:
    models = {"digit_reader": "digit_reader", "digits": "digits"}
    with serving(models) as server, client(server) as http:
        answer = http.post("/recognize", content=DIGIT)
        assert (answer.json()["text"], answer.headers["dlkit-model"]) == ("7", "digits")
        other = http.post("/recognize?model=digit_reader", content=DIGIT)
        assert other.headers["dlkit-model"] == "digit_reader"
        wrong = http.post("/recognize?model=digit_reader&mode=page", content=DIGIT)
        assert wrong.json()["error"].startswith("digit_reader does not read digits on pages")


def test_nothing_is_guessed_between_others() -> None:
    with serving({"one": "digits", "two": "digit_reader"}) as server, client(server) as http:
        answer = http.post("/recognize", content=DIGIT)
        assert answer.status_code == 400
        assert answer.json()["error"] == (
            "2 models answer /recognize: one, two. Say which: /recognize?model=one"
        )
        assert http.post("/recognize?model=one", content=DIGIT).json()["text"] == "7"


def test_the_only_model_answers() -> None:
    with serving({"mine": "digits"}) as server, client(server) as http:
        answer = http.post("/recognize", content=DIGIT)
        assert (answer.json()["text"], answer.headers["dlkit-model"]) == ("7", "mine")
