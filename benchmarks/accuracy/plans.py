"""What `benchmarks.accuracy.results` trains and compares: a plan for each file of results.

A plan is one data set under one protocol: all rows have the same items, targets and histories.
Differences are named here before anything is measured, so their number is known to Holm.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

POPULARITY, ITEM_KNN, RULES, EASE = "popularity", "ItemKNN", "sequential rules", "EASE with recency"
BASELINES = {POPULARITY: "Pop", ITEM_KNN: "ItemKNN", RULES: "SequentialRules", EASE: "EASE"}
GRU4REC, DEFAULT = "GRU4Rec", "kgrec, default"
SMALL_PLAIN, SMALL = "kgrec, preset small, no graph", "kgrec, preset small"
BEST_PLAIN, BEST = "kgrec, preset best, no graph", "kgrec, preset best"
BEST_WITHOUT, BEST_FULL = "preset best, no graph", "preset best, metadata graph"
SPARSE = "kgrec, preset sparse"
PLAIN = ["--model", "GRU4Rec"]
MASKED, ALL = "test_masked", "test"


class Trained(NamedTuple):
    """A row that kgrec trains: the variant of the data set, and the arguments of `kgrec train`."""

    arguments: list[str]
    variant: str = ""


class Rival(NamedTuple):
    """A row that RecBole trains: its model, and what differs from its defaults."""

    model: str
    settings: dict[str, Any]


class TunedRival(NamedTuple):
    """A row that RecTools' SASRec trains: the points of which validation chooses."""

    points: list[dict[str, Any]]


class Step(NamedTuple):
    """A difference: of which row, less which row (two views of one row differ by the mask)."""

    words: str
    row: str
    less: str
    view: str = MASKED
    less_view: str = MASKED


class Plan(NamedTuple):
    """One data set under one protocol.

    Attributes:
        dataset: As `benchmarks.accuracy.study.prepare` knows it.
        protocol: How it is split, in words.
        trained: Rows of kgrec, by name.
        rivals: Rows of RecBole and RecTools, by name.
        steps: The differences.
        settings: Of every `kgrec train`.
        baselines: Rows that count, by name: what `kgrec evaluate` calls them.
    """

    dataset: str
    protocol: str
    trained: dict[str, Trained]
    rivals: dict[str, Rival | TunedRival]
    steps: list[Step]
    settings: Mapping[str, Any] = MappingProxyType({})
    baselines: Mapping[str, str] = MappingProxyType(BASELINES)

    @property
    def rows(self) -> list[str]:
        """The names of all rows, as the page shows them."""
        return [*self.baselines, *self.rivals, *self.trained]


LEAVE_ONE_OUT = "leave-one-out"
LAST_TENTH = "the last tenth of each user's events test, the tenth before validates"
BY_USER = {"split": {"RS": [0.8, 0.1, 0.1]}}
TEMPORAL = "one moment for all users: 80 % of the events train, 10 % validate, 10 % test"
BY_TIME = {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "none"}
OURS = {
    GRU4REC: Trained(PLAIN),
    DEFAULT: Trained([]),
    BEST_PLAIN: Trained(["--preset", "best", *PLAIN]),
    BEST: Trained(["--preset", "best"]),
}
SMALLER = {
    SMALL_PLAIN: Trained(["--preset", "small", *PLAIN]),
    SMALL: Trained(["--preset", "small"]),
}
OF_SASREC = {"n_factors": 128, "batch_size": 32}
POINTS = [
    *(
        {**OF_SASREC, "lr": lr, "dropout_rate": dropout_rate}
        for lr in (0.001, 0.0003)
        for dropout_rate in (0.2, 0.5)
    ),
    {**OF_SASREC, "lr": 0.0003, "dropout_rate": 0.2, "session_max_len": 200},
]
RIVALS: dict[str, Rival | TunedRival] = {f"RecBole {model}": Rival(model, {}) for model in (
    "GRU4RecKG", "GRU4RecCPR", "SASRecCPR", "SASRec", "GRU4Rec"
)}  # fmt: skip
RIVALS["RecTools SASRec, tuned"] = TunedRival(POINTS)
STEPS = [
    Step("seen items masked", GRU4REC, GRU4REC, MASKED, ALL),
    Step("the preset, without a graph", BEST_PLAIN, GRU4REC),
    Step("the graph, with the preset", BEST, BEST_PLAIN),
    Step("the graph, with the defaults", DEFAULT, GRU4REC),
]
STEPS_OF_SMALL = [
    Step("the graph, with preset small", SMALL, SMALL_PLAIN),
    Step("the preset, less preset small", BEST, SMALL),
    Step("the same, without a graph", BEST_PLAIN, SMALL_PLAIN),
]
TO_BASELINES = [
    Step("the preset, less sequential rules", BEST, RULES),
    Step("the preset, less EASE", BEST, EASE),
    Step("the defaults, less sequential rules", DEFAULT, RULES),
    Step("the defaults, less EASE", DEFAULT, EASE),
]
METADATA = "preset small, metadata graph"


def _controls(protocol: str, settings: dict[str, Any]) -> Plan:
    """Is a gain the graph's, or that of more parameters? The same branch on random vectors.

    Vectors of zeros `kgrec train` refuses: nothing can be learned of them.
    """
    small = ["--preset", "small"]
    drawn = {f"preset small, random vectors {n}": Trained(small, f"-random-{n}") for n in (1, 2, 3)}
    plain = {SMALL_PLAIN: Trained([*small, *PLAIN])}
    controls = {**plain, **drawn}
    steps = [Step(f"metadata, less {name}", METADATA, name) for name in controls]
    steps += [Step(f"{name}, less no graph", name, SMALL_PLAIN) for name in drawn]
    rows = {**controls, METADATA: Trained(small)}
    return Plan("ml-latest-small-metadata", protocol, rows, {}, steps, {"epochs": 30, **settings})


def _with_presets(plan: Plan, *presets: str, less: str, drawn: bool = False) -> Plan:
    """The same for other presets: no graph, random vectors if wanted, the metadata graph.

    `less` is the row that each preset's is compared with.
    """
    rows, steps = {}, []
    for preset in presets:
        of_preset = ["--preset", preset]
        plain, full = f"preset {preset}, no graph", f"preset {preset}, metadata graph"
        rows[plain] = Trained([*of_preset, *PLAIN])
        steps.append(Step(f"{preset}, metadata, less no graph", full, plain))
        if drawn:
            random = f"preset {preset}, random vectors 1"
            rows[random] = Trained(of_preset, "-random-1")
            steps.append(Step(f"{preset}, metadata, less random vectors 1", full, random))
        rows[full] = Trained(of_preset)
        steps.append(Step(f"{preset}, no graph, less small, no graph", plain, SMALL_PLAIN))
        steps.append(Step(f"{preset}, metadata, less {less}", full, less))
        steps.append(Step(f"{preset}, metadata, less EASE", full, EASE))
    return plan._replace(trained=plan.trained | rows, steps=plan.steps + steps)


def _vectors() -> Plan:
    """Do entity vectors of a better MRR recommend better? The graph and all else are the same."""
    small = ["--preset", "small"]
    one, thirty, other = "TransE, 1 epoch", "TransE, 30 epochs", "ComplEx, 30 epochs"
    rows = {
        one: Trained(small, "-one-epoch"),
        thirty: Trained(small, "-validated"),
        other: Trained(small, "-ComplEx"),
    }
    steps = [
        Step("TransE, 30 epochs less 1", thirty, one),
        Step("ComplEx, less TransE of 30 epochs", other, thirty),
    ]
    settings = {"epochs": 30, "eval_args": BY_USER}
    return Plan("ml-latest-small-metadata", LAST_TENTH, rows, {}, steps, settings)


def _temporal(dataset: str) -> Plan:
    """The rows of ours on a global temporal split."""
    steps = STEPS + STEPS_OF_SMALL + TO_BASELINES
    return Plan(dataset, TEMPORAL, OURS | SMALLER, {}, steps, {"eval_args": BY_TIME})


def _dense() -> Plan:
    """Many events of each user and item: is the larger preset the better one? And the graph?"""
    large = "kgrec, preset large, no graph"
    of_best = {name: OURS[name] for name in (BEST_PLAIN, BEST)}
    rows = {**SMALLER, **of_best, large: Trained(["--preset", "large", *PLAIN])}
    steps = [
        Step("the preset, less preset small, no graph", BEST_PLAIN, SMALL_PLAIN),
        Step("the large preset, less the preset, no graph", large, BEST_PLAIN),
        Step("the large preset, less small", large, SMALL_PLAIN),
        Step("the graph, with the preset", BEST, BEST_PLAIN),
        Step("the graph, with preset small", SMALL, SMALL_PLAIN),
        Step("the large preset, less sequential rules", large, RULES),
        Step("the preset, less sequential rules", BEST, RULES),
    ]
    return Plan("ml-1m", LEAVE_ONE_OUT, rows, {}, steps, {"epochs": 18})


def _beauty() -> Plan:
    """Sparse data. Validation chose the last of 10 epochs; all rows have as many."""
    sparse, refitted = SPARSE, "the same, trained on validation too"
    as_long = ["--epochs", "10"]
    arguments = [*PLAIN, "--preset", "sparse", *as_long]
    validated = [*arguments, "--set", "eval_step=5"]
    best = [*PLAIN, "--preset", "best", *as_long, "--set", "eval_step=5"]
    without = {
        "the same without cosines": "similarity=dot",
        "the same without the last item's vector": "residual=false",
        "the same, seen items not told apart": "seen_bias=false",
    }
    rows = {
        sparse: Trained(validated),
        **{name: Trained([*validated, "--set", value]) for name, value in without.items()},
        refitted: Trained([*arguments, "--set", "eval_args.split={LS: test_only}"]),
        BEST_PLAIN: Trained(best),
    }
    steps = [
        Step("the preset, less sequential rules", sparse, RULES),
        *(Step(f"the preset, less {name}", sparse, name) for name in without),
        Step("training on validation too", refitted, sparse),
        Step("preset best, less sparse", BEST_PLAIN, sparse),
    ]
    counted = {name: key for name, key in BASELINES.items() if name != EASE}  # 24 GB of weights
    return Plan("beauty", LEAVE_ONE_OUT, rows, {}, steps, baselines=counted)


PLANS = {
    "ml-100k": Plan("ml-100k", LEAVE_ONE_OUT, OURS, {}, STEPS + TO_BASELINES),
    "ml-100k-rivals": Plan("ml-100k", LEAVE_ONE_OUT, OURS, RIVALS, [
        Step(f"{words}, less {name}", row, name)
        for name in RIVALS
        for words, row in (("the preset", BEST), ("the preset without a graph", BEST_PLAIN))
    ]),
    "ml-100k-temporal": _temporal("ml-100k"),
    "ml-latest-small-temporal": _with_presets(
        Plan(
            "ml-latest-small-metadata",
            TEMPORAL,
            {name: OURS[name] for name in (GRU4REC, DEFAULT)} | SMALLER,
            {},
            [Step("the graph, with preset small", SMALL, SMALL_PLAIN)],
            {"eval_args": BY_TIME},
        ),
        "sparse", "best", less=SMALL,
    ),
    "ml-latest-small-controls": _controls(LEAVE_ONE_OUT, {}),
    "ml-latest-small-tenth": _with_presets(
        _controls(LAST_TENTH, {"eval_args": BY_USER}), "sparse", "best", less=METADATA, drawn=True
    ),
    "ml-latest-small-vectors": _vectors(),
    "beauty": _beauty(),
    "ml-1m": _dense(),
}  # fmt: skip
