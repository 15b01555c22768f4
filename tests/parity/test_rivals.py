"""Models of RecBole as rows of the results: kgrec's evaluator gives RecBole's own figures."""

import shutil
from pathlib import Path

import pytest

from benchmarks.accuracy.plans import Rival
from benchmarks.accuracy.rivals import rival_score, train_rival
from benchmarks.recbole_side.data import MODEL
from kgrec_cli.config import build_settings
from kgrec_cli.core.data.splits import item_popularity
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure
from kgrec_cli.dataset.load import load_dataset, split_dataset
from tests.parity.conftest import RecBole

pytestmark = pytest.mark.parity

SETTINGS = {"epochs": 2, "train_batch_size": 128, "MAX_ITEM_LIST_LENGTH": 10, "learning_rate": 0.01}


@pytest.mark.parametrize("model", ["GRU4RecKG", "SASRec", "GRU4RecCPR"])
def test_the_rank_of_a_rival_is_recboles(recbole: RecBole, tmp_path: Path, model: str) -> None:
    shutil.copytree(recbole.folder / "dataset/toy", tmp_path / "dataset/toy")
    settings = dict(SETTINGS)
    if model == "GRU4RecKG":
        settings["embedding_size"] = MODEL["embedding_size"]
    if model == "GRU4RecCPR":
        settings["reranker_CAN_NUM"] = "5"
    rival = Rival(model, settings)
    told_dir = train_rival(tmp_path, tmp_path / "dataset/toy", "any", rival, 1, None)
    dataset = load_dataset(build_settings({"dataset": "toy"}, "test"), tmp_path, lambda event: None)
    split = split_dataset(build_settings({"dataset": "toy"}, "test"), dataset)
    score, said = rival_score(told_dir, dataset)
    popularity = item_popularity(dataset.histories, split, len(dataset.items))
    found = measure(score, dataset.histories, split, "test", MeasureSettings(), popularity)
    assert not said["cut_short"]
    assert len(said["valid_scores"]) == 2
    for metric in ("ndcg@10", "hit@5", "mrr@20"):
        assert found.metrics["test"][metric] == pytest.approx(said["test"][metric], abs=1e-6)
