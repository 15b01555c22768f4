"""The registry of what can be downloaded: MovieLens sets and knowledge graphs for them.

Addresses and checksums only: `download.fetch` fetches these files, the prepare stage reads them.
Nothing of it is part of this package; each file comes from its owner under the owner's terms.
"""

from dataclasses import dataclass, replace
from typing import Literal

from kgrec_cli.download import RemoteFile
from kgrec_cli.errors import UsageError


@dataclass(frozen=True)
class KGSource:
    """A knowledge graph and how the items of a data set find their entities in it.

    Attributes:
        name: What `--kg` calls it.
        datasets: The data sets it is for.
        triples: For `read_raw_triples`.
        links: For `read_raw_links`.
        titles: The MovieLens zips whose film ids are those of `links`; empty when link_by is "id".
        link_by: "id": `links` uses the item ids of the data set. "title": it uses another
            catalogue's ids, so items are matched with `titles` by title and year first.
        licence: One line on what may be done with it.
    """

    name: str
    datasets: tuple[str, ...]
    triples: RemoteFile
    links: RemoteFile
    titles: tuple[RemoteFile, ...]
    link_by: Literal["id", "title"]
    licence: str

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All that has to be fetched for it."""
        return (self.triples, self.links, *self.titles)


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_RECBOLE = "https://raw.githubusercontent.com/RUCAIBox/RecBole"
_KB4REC = "https://raw.githubusercontent.com/RUCDM/KB4Rec"


DATASETS: dict[str, RemoteFile] = {
    name: RemoteFile(
        name=f"{name}.zip",
        url=f"{_GROUPLENS}/{name}.zip",
        what=f"the MovieLens set {name}",
        option="--raw PATH",
        algorithm="md5",
        checksum=md5,
        checksum_url=f"{_GROUPLENS}/{name}.zip.md5",
    )
    for name, md5 in {
        "ml-100k": "0e33842e24a9c977be4e0107933c0723",
        "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
        "ml-10m": "ce571fd55effeba0271552578f2648bd",
        "ml-20m": "cd245b17a1ae2cc31bb14903e1204af3",
        "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
        "ml-32m": "d472be332d4daa821edc399621853b57",
        # These two are made anew from time to time, so their digest has to be asked for.
        "ml-latest": None,
        "ml-latest-small": None,
    }.items()
}
"""The raw sets that `kgrec prepare NAME` can download, by name."""

KGS: dict[str, KGSource] = {
    # The ids of ml2fb.txt are those of ml-1m and all later sets. ml-100k has other ids: joined on
    # equal numbers (as RecBole's ml-100k.link is) 3 in 1,552 links are right. Hence by title,
    # through ml-1m's.
    "freebase": KGSource(
        name="freebase",
        datasets=("ml-100k",),
        triples=RemoteFile(
            name="ml-100k.kg",
            url=f"{_RECBOLE}/7b02be5ec80a88310f2d04a27a82adfcbb5dc211"
            "/recbole/dataset_example/ml-100k/ml-100k.kg",
            what="Freebase triples around the films of ml-100k",
            option="--kg FILE --links FILE",
            algorithm="sha256",
            checksum="200a0636fa07c218119a42e5bac7aa3e26e3665a6f919c1b22909bd412b14779",
        ),
        links=RemoteFile(
            name="ml2fb.txt",
            url=f"{_KB4REC}/a9a1f5be1ea6d70c4101d876f0daca1d83bd4313/Linkage/ml2fb.txt",
            what="KB4Rec's links of MovieLens films to Freebase",
            option="--kg FILE --links FILE",
            algorithm="sha256",
            checksum="cdbe637438afae73ae442c6e7a7159cf3e4fa711886a35d22e49e6f7964bb953",
        ),
        titles=(replace(DATASETS["ml-1m"], what="the titles of ml-1m", option="--catalog FILE"),),
        link_by="title",
        licence="KB4Rec: non-commercial use, no redistribution, cite; "
        "MovieLens: research use, no redistribution, cite",
    ),
}
"""The knowledge graphs that `--kg NAME` can download, by name."""


def kgs_for(dataset: str) -> list[KGSource]:
    """The knowledge graphs registered for a data set."""
    return [source for source in KGS.values() if dataset in source.datasets]


def kg_source(name: str, dataset: str) -> KGSource | None:
    """The knowledge graph of that name; None when none is registered.

    Raises:
        UsageError: It is not for this data set.
    """
    source = KGS.get(name)
    if source is not None and dataset not in source.datasets:
        raise UsageError(
            f"--kg {name} is for {', '.join(source.datasets)}, not for {dataset}: "
            "use --kg metadata, or give a graph with --kg FILE --links FILE"
        )
    return source
