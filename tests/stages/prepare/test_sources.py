import re

import pytest

from kgrec_cli.errors import UsageError
from kgrec_cli.stages.prepare.graph import KGRequest, check_kg
from kgrec_cli.stages.prepare.sources import DATASETS, KGS, kg_source, kgs_for

ALL_FILES = [*DATASETS.values(), *(file for source in KGS.values() for file in source.files)]


def test_the_registered_sets() -> None:
    assert list(DATASETS) == [
        "ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "ml-latest", "ml-latest-small",
    ]  # fmt: skip
    assert DATASETS["ml-1m"].url == "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
    assert DATASETS["ml-1m"].checksum == "c4d9eecfca2ab87c1945afe126590906"
    assert DATASETS["ml-latest-small"].checksum is None
    assert str(DATASETS["ml-latest-small"].checksum_url).endswith("/ml-latest-small.zip.md5")


@pytest.mark.parametrize("file", ALL_FILES, ids=lambda file: file.name)
def test_every_file_is_fetched_safely_and_can_be_checked(file) -> None:
    assert file.url.startswith("https://")
    assert file.url.endswith(f"/{file.name}")
    digits = {"md5": 32, "sha256": 64}[file.algorithm]
    assert file.checksum_url or file.checksum
    if file.checksum is not None:
        assert re.fullmatch(rf"[0-9a-f]{{{digits}}}", file.checksum)


def test_names_are_unique_in_the_cache() -> None:
    by_name = {file.name: (file.url, file.checksum) for file in ALL_FILES}
    assert all(by_name[file.name] == (file.url, file.checksum) for file in ALL_FILES)


def test_graphs_are_for_the_sets_they_name() -> None:
    assert [source.name for source in kgs_for("ml-100k")] == ["freebase"]
    assert kgs_for("ml-1m") == []
    for name, source in KGS.items():
        assert source.name == name
        assert set(source.datasets) <= set(DATASETS)
        assert bool(source.titles) == (source.link_by == "title")
        assert source.licence


def test_mistyped_names() -> None:
    assert kg_source("freebase", "ml-100k") is KGS["freebase"]
    assert kg_source("freebse", "ml-100k") is None
    with pytest.raises(UsageError, match="did you mean 'freebase'"):
        check_kg(KGRequest("freebse"), "ml-100k")
    with pytest.raises(UsageError, match="did you mean 'metadata'"):
        check_kg(KGRequest("meta-data"), "ml-100k")
    with pytest.raises(UsageError, match="--kg freebase is for ml-100k, not for ml-1m"):
        kg_source("freebase", "ml-1m")
