"""A bundle's model card: README.md with data, metric, certificate and limits, of what is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from dlkit.bundle import Bundle, Certificate
from dlkit.plugins import MissingError
from dlkit.printable import printable
from dlkit.tasks import TASKS, Task

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "'", "[": "\\["}
_UNKNOWN = "Not known."
_ENGINES = "TensorRT engines are not here: they belong to one GPU. Build one: `dlkit export --trt`."


def model_card(bundle: Bundle, address: str = "hf://USER/NAME") -> str:
    """The card as Markdown, with the header that Hugging Face's hub reads.

    Nothing is in it that the bundle does not say itself; so a licence is not.

    Args:
        address: where it will be.
    """
    spec = bundle.spec
    try:
        task: Task | None = TASKS.load(spec.task)
    except MissingError:  # of a package that is not installed here
        task = None
    parts = [
        "\n".join(_header(bundle, task)),
        f"# {_plain(spec.name)}",
        "\n".join(_about(bundle, task)),
        "## What it takes and gives\n\n" + "\n".join(_tensors(bundle, task)),
        "## Data\n\n" + "\n".join(_data(bundle)),
        "## Certificate\n\n" + "\n".join(_certified(bundle)),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(bundle, task)),
        "## Use\n\n" + _use(bundle, task, address),
        f"SHA-256 of the graph and its weights: `{bundle.sha256}`",
    ]
    lines = "\n\n".join(parts).split("\n")
    return "\n".join(map(printable, lines)) + "\n"


def _header(bundle: Bundle, task: Task | None) -> Iterator[str]:
    yield "---"
    yield "library_name: dlkit"
    if task is not None and task.pipeline:
        yield f"pipeline_tag: {task.pipeline}"
    yield f"tags: [dlkit, onnx, {bundle.spec.precision}]"
    yield "---"


def _about(bundle: Bundle, task: Task | None) -> Iterator[str]:
    about = _recipe(bundle).get("about")
    if isinstance(about, str) and about:
        yield f"{_plain(about)}\n"
    kind = f"{bundle.spec.task}" + (f" ({task.about})" if task is not None else "")
    yield f"Task: {_plain(kind)}. Precision: {bundle.spec.precision}, in the graph itself."


def _tensors(bundle: Bundle, task: Task | None) -> Iterator[str]:
    spec = bundle.spec
    for word, tensors in (("in", spec.inputs), ("out", spec.outputs)):
        for one in tensors:
            yield f"- {word}: `{_plain(str(one))}`"
    if spec.labels:
        yield f"- labels: {_plain(', '.join(spec.labels))}"
    if _pixels(bundle, task):
        yield f"- pixels are raw, 0 to 255, {spec.colour}; scaling is inside the graph"


def _data(bundle: Bundle) -> Iterator[str]:
    origin, recipe = bundle.origin, _recipe(bundle)
    found = [str(one) for one in (origin.get("dataset"), recipe.get("data")) if one]
    yield f"Trained on: {_plain(', '.join(dict.fromkeys(found)) or _UNKNOWN)}"
    for name in ("run", "source", "checkpoint_sha256", "date"):
        if origin.get(name):
            yield f"\n{name}: `{_plain(str(origin[name]))}`"
    if recipe:
        text = json.dumps(recipe, indent=2, ensure_ascii=False)
        text = text.replace("```", "'''").replace("</", "<\\/")
        yield f"\n<details><summary>Recipe</summary>\n\n```json\n{text}\n```\n\n</details>"


def _certified(bundle: Bundle) -> Iterator[str]:
    found = bundle.certificate
    why = bundle.uncertified(bundle.sha256)
    if found is None or why is not None:
        yield "None: nobody measured that this file computes what its network did."
        return
    inputs = found.inputs
    yield (
        f"`dlkit verify` compared it on {found.date[:10]} with {_plain(found.reference.name)}: "
        f"{_plain(inputs.name)}, {inputs.count} of them.\n"
    )
    names = sorted({name for row in found.measured for name in row.metrics})
    heads = ["", "arithmetic", "largest difference", "agreement", *names, "within tolerance"]
    yield _row(heads)
    yield _row(["---"] * len(heads))
    if found.reference.metrics:
        own = [_figure(found.reference.metrics, name) for name in names]
        yield _row(["reference", "", "", "", *own, ""])
    for row in found.measured:
        where = "model.onnx" if row.sha256 == bundle.sha256 else "an engine"
        yield _row(
            [
                f"{row.backend}, {row.device}, {where}", row.precision, f"{row.largest:.3g}",
                f"{row.agreement:.5g}", *(_figure(row.metrics, name) for name in names),
                "yes" if row.within else "no",
            ]
        )  # fmt: skip


def _limits(bundle: Bundle, task: Task | None) -> Iterator[str]:
    spec, found = bundle.spec, bundle.certificate
    shape = spec.inputs[0].shape
    if _pixels(bundle, task):
        if all(isinstance(side, int) for side in shape[1:3]):
            yield (
                f"Images are brought to {shape[1]} x {shape[2]} pixels ({spec.resize}); "
                "what is lost by that is lost."
            )
        else:
            yield f"Heights and widths are padded to multiples of {spec.multiple_of}."
    if spec.colour == "grey" and _pixels(bundle, task):
        yield "It sees brightness alone, no colours."
    if spec.labels:
        yield f"It gives one of its {len(spec.labels)} labels for whatever it is shown."
    if found is None:
        yield "Nothing was measured."
    elif bundle.uncertified(bundle.sha256) is None:
        yield from _measured(found)
    yield "How it does on data of another kind than the above was not measured here."
    yield _ENGINES


def _pixels(bundle: Bundle, task: Task | None) -> bool:
    """Whether it takes images of any size, which its task brings to the graph's."""
    return task is not None and task.images and bundle.spec.inputs[0].dtype == "uint8"


def _measured(found: Certificate) -> Iterator[str]:
    if found.inputs.random:
        yield "It was compared on random inputs: nobody knows how often its answers are right."
    for name, guess in found.inputs.guess.items():
        yield f"Whoever guesses reaches {guess:.4g} {_plain(name)}."
    where = found.hardware.get("processor") or found.hardware.get("machine") or "one machine"
    yield f"Other backends and machines than these ({_plain(str(where))}) were not measured."
    for name, why in found.refused.items():
        yield f"{_plain(name)} could not load it: {_plain(why)}"


def _use(bundle: Bundle, task: Task | None, address: str) -> str:
    command = "run" if task is None else task.command
    return (
        "```sh\npip install dlkit-vision\n"
        f"dlkit pull {address} --out mybundle\n"
        f"dlkit {command} --help\n```\n\n"
        '```python\nimport dlkit\n\nmodel = dlkit.load("mybundle")\n```'
    )


def _recipe(bundle: Bundle) -> Mapping[str, object]:
    recipe = bundle.origin.get("recipe")
    return recipe if isinstance(recipe, dict) else {}


def _figure(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:.4g}" if name in values else ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A text of the bundle in one line, without what Markdown or HTML would take as its own."""
    line = " ".join(text.split())
    return "".join(_ESCAPED.get(one, one) for one in line)
