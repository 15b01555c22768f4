"""Pre-training as a stage: files, determinism, going on, and each mistake."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.formats.atomic import read_entity_features
from kgrec_cli.runs.run_files import read_run_items, write_tensors
from kgrec_cli.settings import Settings
from kgrec_cli.stages.pretrain_kg import run_pretrain_kg

SETTINGS = Settings(
    dataset="small",
    threads=1,
    pretrain_kg={"embedding_size": 8, "epochs": 6, "batch_size": 16, "negatives": 2},
)


def with_kg(**changes: object) -> Settings:
    block = {**SETTINGS.pretrain_kg.model_dump(), **changes}
    return Settings.model_validate({**SETTINGS.model_dump(), "pretrain_kg": block})


@pytest.fixture
def folder(small_folder: Path) -> Path:
    """The small data set with a graph in which some triples can be held out."""
    rows = [f"e{a}\tnear\te{b}" for a in range(1, 11) for b in range(1, 11) if a != b]
    rows += [f"e{a}\tsame_kind\tk{a % 3}" for a in range(1, 11)]
    head = "head_id:token\trelation_id:token\ttail_id:token"
    (small_folder / "dataset/small/small.kg").write_text("\n".join([head, *rows, ""]))
    (small_folder / "dataset/small/small.ent_feature").unlink()
    return small_folder


def features(folder: Path) -> bytes:
    return (folder / "dataset/small/small.ent_feature").read_bytes()


def ignore(event: object) -> None:
    pass


def test_every_entity_gets_a_vector_and_the_sidecar_says_how(folder: Path) -> None:
    result = run_pretrain_kg(SETTINGS, folder, save_every_s=0, on_event=ignore)
    entities, vectors = read_entity_features(result.features_path, expected_width=8)
    assert set(entities) == {f"e{n}" for n in range(1, 11)} | {"k0", "k1", "k2"}
    assert np.isfinite(vectors).all()
    sidecar = json.loads(result.features_path.with_name("small.ent_feature.json").read_text())
    assert sidecar["method"] == "TransE"
    assert sidecar["settings"]["epochs"] == len(sidecar["losses"]) == 6
    assert (sidecar["n_entities"], sidecar["n_relations"], sidecar["n_triples"]) == (13, 2, 100)
    assert sidecar["losses"][-1] < sidecar["losses"][0]
    assert {"kgrec", "pykeen", "torch", "python"} <= set(sidecar["versions"])
    assert result.features_path.with_name("small.ent_feature.checkpoint.safetensors").is_file()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder: Path) -> None:
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    first = features(folder)
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    assert features(folder) == first
    run_pretrain_kg(with_kg(seed=1), folder, on_event=ignore)
    assert features(folder) != first


@pytest.mark.parametrize("method", ["TransE", "ComplEx"])
def test_vectors_have_a_mean_length_of_1_whatever_the_method(folder: Path, method: str) -> None:
    result = run_pretrain_kg(with_kg(method=method), folder, on_event=ignore)
    _, vectors = read_entity_features(result.features_path)
    assert np.linalg.norm(vectors, axis=1).mean() == pytest.approx(1)
    sidecar = json.loads(result.features_path.with_name("small.ent_feature.json").read_text())
    is_already = sidecar["divided_by"] == pytest.approx(1)
    assert is_already == (method == "TransE")


@pytest.mark.parametrize(("method", "stop_after"), [("TransE", 1), ("TransE", 4), ("ComplEx", 2)])
def test_a_killed_training_resumes_to_the_same_bytes(
    folder: Path, method: str, stop_after: int
) -> None:
    settings = with_kg(method=method)
    run_pretrain_kg(settings, folder, on_event=ignore)
    whole = features(folder)
    (folder / "dataset/small/small.ent_feature").unlink()

    def interrupt(event: object) -> None:
        if getattr(event, "task", "") == method and event.done == stop_after + 1:
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="--resume goes on"):
        run_pretrain_kg(settings, folder, save_every_s=0, on_event=interrupt)
    assert not (folder / "dataset/small/small.ent_feature").exists()
    with pytest.raises(KgrecError, match=r"of a training with learning_rate 0\.01, not 0\.5; give"):
        run_pretrain_kg(
            with_kg(method=method, learning_rate=0.5), folder, resume=True, on_event=ignore
        )
    events: list[object] = []
    run_pretrain_kg(settings, folder, resume=True, on_event=events.append)
    assert f"resuming after epoch {stop_after}" in [getattr(e, "text", "") for e in events]
    assert features(folder) == whole


def test_resume_without_a_checkpoint_starts_anew(folder: Path) -> None:
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    first = features(folder)
    run_pretrain_kg(SETTINGS, folder, resume=True, on_event=ignore)
    assert features(folder) == first


def test_validate_measures_what_was_left_out(folder: Path) -> None:
    result = run_pretrain_kg(SETTINGS, folder, validate=True, on_event=ignore)
    assert set(result.metrics) == {"mrr", "hits@1", "hits@3", "hits@10"}
    sidecar = json.loads((folder / "dataset/small/small.ent_feature.json").read_text())
    assert sidecar["metrics"] == result.metrics
    assert sidecar["n_held_out"] in (5, 6)  # 5 % of 100, two a pair of entities at most
    assert sidecar["n_triples"] == 100  # of the vectors that are written
    n_ranks = 2 * sidecar["n_held_out"]  # of tails and of heads
    for k in (1, 3, 10):
        n_hits = result.metrics[f"hits@{k}"] * n_ranks
        assert n_hits == pytest.approx(round(n_hits))
    assert 1 / 13 <= result.metrics["mrr"] <= 1
    validated = features(folder)
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    assert features(folder) == validated  # trained on all triples, as without --validate


@pytest.mark.parametrize("stop_in", ["TransE, some held out", "TransE"])
def test_a_killed_validation_resumes_to_the_same(folder: Path, stop_in: str) -> None:
    whole = run_pretrain_kg(SETTINGS, folder, validate=True, on_event=ignore)
    vectors = features(folder)

    def interrupt(event: object) -> None:
        if getattr(event, "task", "") == stop_in and event.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="--resume goes on"):
        run_pretrain_kg(SETTINGS, folder, validate=True, save_every_s=0, on_event=interrupt)
    events: list[object] = []
    resumed = run_pretrain_kg(SETTINGS, folder, validate=True, resume=True, on_event=events.append)
    assert "resuming after epoch 3" in [getattr(e, "text", "") for e in events]
    assert (resumed.metrics, features(folder)) == (whole.metrics, vectors)


def test_given_triples_choose_the_epoch_and_are_measured(folder: Path, tmp_path: Path) -> None:
    rows = [f"e{n}\tnear\te{n % 10 + 1}" for n in range(1, 11)]
    (tmp_path / "valid.tsv").write_text("\n".join([*rows[:5], "e1\tnear\tnobody"]) + "\n")
    (tmp_path / "test.tsv").write_text("\n".join(rows[5:]) + "\n")
    events: list[object] = []
    paths = {"valid_path": tmp_path / "valid.tsv", "test_path": tmp_path / "test.tsv"}
    found = run_pretrain_kg(with_kg(epochs=20), folder, **paths, on_event=events.append)
    sidecar = json.loads((folder / "dataset/small/small.ent_feature.json").read_text())
    scores = {int(epoch): score for epoch, score in sidecar["scores"].items()}
    assert list(scores) == list(range(2, 21, 2))
    assert scores[found.best_epoch] == max(scores.values())
    assert found.metrics == sidecar["metrics"]
    assert set(found.metrics) == {"mrr", "hits@1", "hits@3", "hits@10"}
    assert any("1 of 6 triples have an entity" in getattr(e, "text", "") for e in events)
    (tmp_path / "none.tsv").write_text("x\tnear\ty\n")
    with pytest.raises(KgrecError, match=r"none\.tsv: none of its triples has entities"):
        run_pretrain_kg(SETTINGS, folder, valid_path=tmp_path / "none.tsv", on_event=ignore)


def test_held_out_and_validation_triples_are_two_trainings(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "valid.tsv").write_text("e1\tnear\te2\ne3\tnear\te4\n")
    paths = {"valid_path": tmp_path / "valid.tsv"}
    rows = []
    for seed in range(4):
        settings = with_kg(epochs=3, learning_rate=0.3, seed=seed)
        alone = run_pretrain_kg(settings, folder, **paths, on_event=ignore)
        vectors = features(folder)
        held_out = run_pretrain_kg(settings, folder, validate=True, on_event=ignore).metrics
        both = run_pretrain_kg(settings, folder, validate=True, **paths, on_event=ignore)
        rows.append((features(folder) == vectors, both.best_epoch == alone.best_epoch))
        assert both.metrics.keys() == held_out.keys()
        assert both.metrics != alone.metrics
    assert rows == [(True, True)] * 4  # the second training does not compete with the first


def test_the_test_triples_may_be_others_when_a_training_is_resumed(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("e1\tnear\te2\ne2\tnear\te3\n")
    (tmp_path / "two").write_text("e1\tnear\te3\ne2\tnear\te3\n")
    run_pretrain_kg(SETTINGS, folder, test_path=tmp_path / "one", on_event=ignore)
    run_pretrain_kg(SETTINGS, folder, test_path=tmp_path / "two", resume=True, on_event=ignore)
    for changes, options, said in (
        ({"epochs": 5}, {}, "epochs 6, not 5"),
        ({}, {"validate": True}, "--validate, or without it"),
        ({}, {"valid_path": tmp_path / "one"}, "another --valid file, or none"),
    ):
        with pytest.raises(KgrecError, match=f"of a training with {said}; give the same"):
            run_pretrain_kg(with_kg(**changes), folder, resume=True, **options, on_event=ignore)


def test_vectors_of_relations_of_an_earlier_training_are_a_warning(folder: Path) -> None:
    run_pretrain_kg(SETTINGS, folder, relations=True, on_event=ignore)
    events: list[object] = []
    run_pretrain_kg(SETTINGS, folder, on_event=events.append)
    texts = [getattr(event, "text", "") for event in events]
    assert any("small.rel_feature: it is of other entity vectors" in text for text in texts)


def test_a_finished_training_is_lengthened(folder: Path) -> None:
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    events: list[object] = []
    longer = run_pretrain_kg(with_kg(epochs=9), folder, resume=True, on_event=events.append)
    texts = [getattr(e, "text", "") for e in events]
    assert "resuming after epoch 6" in texts
    assert any("it was to have 6 epochs" in text for text in texts)
    assert len(longer.losses) == 9
    run_pretrain_kg(SETTINGS, folder, validate=True, on_event=ignore)
    with pytest.raises(KgrecError, match="of 6 epochs, with --validate; it cannot be lengthened"):
        run_pretrain_kg(with_kg(epochs=9), folder, validate=True, resume=True, on_event=ignore)


def test_relations_get_vectors_on_the_same_scale(folder: Path) -> None:
    """A translation: the mean of tail less head, over the triples of a relation, is near it."""
    run_pretrain_kg(with_kg(epochs=60, learning_rate=0.05), folder, relations=True, on_event=ignore)
    head, *rows = (folder / "dataset/small/small.rel_feature").read_text().splitlines()
    assert head == "rel_id:token\trel_vec:float_seq"
    vectors = {name: np.array(text.split(), float) for name, text in (r.split("\t") for r in rows)}
    assert set(vectors) == {"near", "same_kind"}
    entities, of_entities = read_entity_features(folder / "dataset/small/small.ent_feature")
    place = dict(zip(entities, of_entities, strict=True))
    steps = [place[f"k{n % 3}"] - place[f"e{n}"] for n in range(1, 11)]
    mean = np.mean(steps, axis=0)
    cosine = (
        mean @ vectors["same_kind"] / np.linalg.norm(mean) / np.linalg.norm(vectors["same_kind"])
    )
    assert cosine > 0.8


def test_a_folder_with_a_graph_alone_is_enough(run_cli, tmp_path: Path) -> None:
    graph = tmp_path / "dataset/graph/graph.kg"
    graph.parent.mkdir(parents=True)
    rows = [f"e{n}\tnext\te{n + 1}" for n in range(20)]
    graph.write_text("\n".join(["head_id:token\trelation_id:token\ttail_id:token", *rows, ""]))
    for names in ((), ("graph",)):
        result = run_cli("pretrain-kg", *names, "--epochs=2", "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["n_entities"] == 21


def write_kg(
    folder: Path, *rows: str, head: str = "head_id:token\trelation_id:token\ttail_id:token"
):
    (folder / "dataset/small/small.kg").write_text("\n".join([head, *rows, ""]))


def test_one_triple_is_enough(folder: Path) -> None:
    write_kg(folder, "e1\tnear\te2")
    assert run_pretrain_kg(SETTINGS, folder, on_event=ignore).n_entities == 2
    with pytest.raises(KgrecError, match="no triple can be held out"):
        run_pretrain_kg(SETTINGS, folder, validate=True, on_event=ignore)


@pytest.mark.parametrize(
    ("rows", "head", "expected"),
    [
        ((), None, "no triples; give a graph"),
        (("e1\tnear",), None, "small.kg, line 2: 2 columns, expected 3"),
        (("e1\tnear\te2", "e1\t\te2"), None, "small.kg, line 3, column relation_id: empty"),
        (("e1\tnear\te2",), "head\trelation\ttail", "column 'head' has no type"),
        (("e1\tnear\te1",), None, "one entity"),
    ],
)
def test_a_spoilt_graph_is_one_line(
    folder: Path, rows: tuple[str, ...], head: str | None, expected: str
) -> None:
    write_kg(folder, *rows, **({"head": head} if head else {}))
    with pytest.raises(KgrecError, match=expected):
        run_pretrain_kg(SETTINGS, folder, on_event=ignore)


def test_links_of_another_graph_are_a_warning(folder: Path) -> None:
    write_kg(folder, "x1\tnear\tx2", "x2\tnear\tx3")
    events: list[object] = []
    run_pretrain_kg(SETTINGS, folder, on_event=events.append)
    assert any("are the links of another graph?" in getattr(e, "text", "") for e in events)


def test_what_was_there_stays_when_a_training_fails(folder: Path) -> None:
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    before = features(folder)
    with pytest.raises(KgrecError, match="is no finite number"):
        run_pretrain_kg(with_kg(method="DistMult", learning_rate=1e38), folder, on_event=ignore)
    assert features(folder) == before


@pytest.mark.parametrize("learning_rate", [100, 1e19])
def test_a_transe_that_diverges_writes_nothing(folder: Path, learning_rate: float) -> None:
    diverging = with_kg(method="TransE", learning_rate=learning_rate, epochs=5)
    path = folder / "dataset/small/small.ent_feature"
    path.unlink(missing_ok=True)
    with pytest.raises(
        KgrecError, match=r"TransE: the (training has diverged|loss of).* smaller --"
    ):
        run_pretrain_kg(diverging, folder, on_event=ignore)
    assert not path.exists()


@pytest.mark.parametrize("method", ["TransE", "ComplEx", "RotatE"])
def test_ranks_like_those_of_guessing_are_a_warning(folder: Path, method: str) -> None:
    write_kg(folder, *(f"e{n}\tnear\te{(n + step) % 60}" for n in range(60) for step in (1, 2)))
    for learning_rate, is_told in ((1e-7, True), (0.1, False)):
        events: list[object] = []
        settings = with_kg(method=method, learning_rate=learning_rate, epochs=30)
        run_pretrain_kg(settings, folder, on_event=events.append)
        assert is_told == any("no better than guessing" in getattr(e, "text", "") for e in events)


def test_zeros_after_a_single_epoch_are_not_written(folder: Path) -> None:
    """The loss of an epoch of one batch is that of the vectors before it."""
    diverging = with_kg(method="TransE", learning_rate=1e38, epochs=1, batch_size=10_000)
    with pytest.raises(KgrecError, match="diverged, it gives vectors that are all zeros; try a"):
        run_pretrain_kg(diverging, folder, on_event=ignore)


def test_a_damaged_checkpoint_is_one_line(folder: Path) -> None:
    path = folder / "dataset/small/small.ent_feature.checkpoint.safetensors"
    for content, meta in ((b"not tensors", None), (None, {"losses": []}), (None, [1])):
        if content is None:
            write_tensors(path, {"model.x": torch.zeros(1)}, meta)
        else:
            path.write_bytes(content)
        with pytest.raises(KgrecError, match=r"checkpoint\.safetensors: .*remove it to start from"):
            run_pretrain_kg(SETTINGS, folder, resume=True, on_event=ignore)


def test_vectors_go_into_training(run_cli, folder: Path) -> None:
    run_pretrain_kg(SETTINGS, folder, on_event=ignore)
    arguments = ("train", "--epochs", "1", "--set", "embedding_size=8", "--threads", "1")
    assert run_cli(*arguments).exit_code == 0
    entities, vectors = read_entity_features(folder / "dataset/small/small.ent_feature")
    (run_dir,) = (folder / "saved").iterdir()
    table = load_file(run_dir / "model.safetensors")["entity_embedding.weight"].numpy()
    links = read_run_items(run_dir).select("entity_id").to_series().to_list()
    assert links.count(None) == 2  # i11 and i12
    for row, entity in zip(table[1:].tolist(), links, strict=True):
        assert row == ([0] * 8 if entity is None else vectors[entities.index(entity)].tolist())
    kg_path = folder / "dataset/small/small.kg"
    kg_path.write_text(kg_path.read_text() + "e1\tnear\tk1\n")
    refused = run_cli(*arguments)
    assert refused.exit_code == 1
    assert "made from another small.kg" in refused.stderr
