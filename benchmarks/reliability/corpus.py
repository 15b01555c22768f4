"""Small whole files of every kind that kgrec reads, made from the sample data: what is damaged.

`build` fills a working folder: raw tables, lists, graphs and archives, a prepared data set `tiny`,
a finished run `done`, a stopped one `open`, a checkpoint, a study. The commands of kgrec make them.
"""

import csv
import gzip
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import chdir, suppress
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import REPO_DIR
from kgrec_cli.cli import run
from kgrec_cli.config import resolve_settings
from kgrec_cli.errors import Stopped
from kgrec_cli.events import EpochDone, Event
from kgrec_cli.formats.atomic import write_entity_features
from kgrec_cli.stages.train import run_train

SAMPLE_DIR = REPO_DIR / "sample_data"
N_USERS, N_FILMS = 12, 40
USER = "1"
TINY = (
    "embedding_size=4", "hidden_size=4", "train_batch_size=64", "topk=[5]", "valid_metric=MRR@5",
    "epochs=2", "threads=1",
)  # fmt: skip
SPACE = """\
# a comment
learning_rate choice [0.01,0.005,1e-3]
num_layers choice [1,2,3]
dropout_prob uniform 0.0,0.5
weight_decay loguniform -8,-4
hidden_size quniform 4,16,4
train_neg_sample_args choice [None, {'sample_num': 2}]
loss_type choice ['CE', "BPR"]
topk choice ["[5,10]", [20]]
"""
ASSIGNMENTS = """\
seed=1
topk=[5,10]
metrics=[Recall, MRR]
valid_metric=NDCG@10
learning_rate=1e-3
embedding_size=64
hidden_size=128
MAX_ITEM_LIST_LENGTH=50
train_batch_size=2048
eval_batch_size=4096
eval_args.split={RS: [0.8, 0.1, 0.1]}
eval_args={group_by: user, order: TO, split: {LS: valid_and_test}, mode: full}
eval_args.mode=uni100
train_neg_sample_args={distribution: uniform, sample_num: 1}
loss_type=BPR
clip_grad_norm={max_norm: 5, norm_type: 2}
load_col={inter: [user_id, item_id, timestamp]}
unload_col={item: [genre]}
val_interval={rating: "[3,inf)"}
user_inter_num_interval="[2,inf)"
item_inter_num_interval=(0,100]
rm_dup_inter=first
benchmark_filename=[train, valid, test]
additional_feat_suffix=[ent_feature]
preload_weight={ent_id: ent_vec}
alias_of_entity_id=[ent_id]
USER_ID_FIELD=user_id
TIME_FIELD=timestamp
field_separator="\\t"
seq_separator=" "
data_path=dataset
checkpoint_dir=saved
device=cpu
threads=1
preset=best
pretrain_kg.method=TransE
pretrain_kg={epochs: 3, embedding_size: 8}
fields_in_same_space=[[ent_id, entity_id]]
training_neg_sample_num=1
show_progress=False
"""

Rows = list[list[str]]


def build(folder: Path) -> None:
    """Fills an empty folder."""
    folder.mkdir(parents=True)
    ratings, films, triples, links = _sample()
    (folder / "in").mkdir()
    with chdir(folder):
        _raw_tables(ratings)
        _item_lists(films)
        _graphs(triples, links)
        _archives(ratings, films)
        Path("set.txt").write_text(ASSIGNMENTS)
        prepare = ["prepare", "tiny", "--raw", "raw.csv", "--items", "items.csv"]
        _kgrec(*prepare, "--kg", "kg.tsv", "--links", "links.tsv")
        entities = sorted({row[0] for row in triples} | {row[2] for row in triples})
        vectors = np.random.default_rng(1).normal(size=(len(entities), 4)).astype(np.float32)
        write_entity_features(Path("dataset/tiny/tiny.ent_feature"), entities, vectors)
        Path("dataset/broken").mkdir()
        Path("dataset/broken/broken.inter").write_text("")
        _runs()


def _sample() -> tuple[Rows, Rows, Rows, Rows]:
    """Some users' ratings of some films, these films, their triples and links; no headers."""

    def rows(name: str, separator: str = ",") -> Rows:
        with (SAMPLE_DIR / name).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file, delimiter=separator))[1:]

    films = rows("movies.csv")[:N_FILMS]
    known = {row[0] for row in films}
    ratings = [row for row in rows("ratings.csv") if row[1] in known]
    users = list(dict.fromkeys(row[0] for row in ratings))[:N_USERS]
    links = [row for row in rows("links.tsv", "\t") if row[0] in known]
    entities = {row[1] for row in links}
    triples = [row for row in rows("kg.tsv", "\t") if row[0] in entities]
    return [row for row in ratings if row[0] in users], films, triples, links


def _write(name: str, rows: Iterable[Sequence[str]], separator: str = ",", head: str = "") -> None:
    lines = [separator.join(row) for row in rows]
    Path(name).write_text("\n".join([*([head] if head else []), *lines, ""]), encoding="utf-8")


def _raw_tables(ratings: Rows) -> None:
    names = ["user_id", "item_id", "rating", "timestamp"]
    _write("raw.csv", ratings, head=",".join(names))
    _write("raw.tsv", ratings, "\t", "\t".join(names))
    _write("plain.csv", ratings)
    _write(
        "semicolon.csv", ([f'"{cell}"' for cell in row] for row in ratings), ";", ";".join(names)
    )
    days = [[*row[:3], f"2024-01-{int(row[3]) % 28 + 1:02d}T10:00:00Z"] for row in ratings]
    _write("iso.csv", days, head="visitor,product,stars,date")
    table = pl.DataFrame(ratings, schema=names, orient="row")
    table = table.with_columns(
        pl.col("rating").cast(pl.Float64), pl.col("timestamp").cast(pl.Int64)
    )
    table.write_parquet("raw.parquet")
    table.write_ndjson("raw.jsonl")
    Path("raw.csv.gz").write_bytes(gzip.compress(Path("raw.csv").read_bytes(), mtime=0))


def _item_lists(films: Rows) -> None:
    quoted = [[row[0], f'"{row[1]}"', row[2]] for row in films]
    _write("movies.csv", quoted, head="movieId,title,genres")
    _write("items.csv", quoted, head="item_id,title,genre")
    _write("movies.dat", films, "::")
    flags = ["0"] * 18 + ["1"]
    _write("u.item", ([row[0], row[1], "01-Jan-1995", "", "", *flags] for row in films), "|")
    pl.DataFrame(films, schema=["id", "title", "genres"], orient="row").write_parquet(
        "items.parquet"
    )


def _graphs(triples: Rows, links: Rows) -> None:
    _write("kg.tsv", triples, "\t", "head_id\trelation_id\ttail_id")
    _write("kg.csv", triples)
    _write("kg.kg", triples, "\t", "head_id:token\trelation_id:token\ttail_id:token")
    iris = [[f"<http://x.org/{cell}>" for cell in row] for row in triples]
    labels = [
        [row[0], "<http://www.w3.org/2000/01/rdf-schema#label>", '"A \\u00e9 \\"b\\""@en']
        for row in iris[:9]
    ]
    _write("kg.nt", ([*row, "."] for row in (*iris, *labels)), " ")
    _write("links.tsv", links, "\t", "item_id\tentity_id")
    _write("links.nt.tsv", ([row[0], f"http://x.org/{row[1]}"] for row in links), "\t")
    pl.DataFrame(triples, schema=["h", "r", "t"], orient="row").write_parquet("kg.parquet")


def _archives(ratings: Rows, films: Rows) -> None:
    users = "\n".join(f"{user}::F::25::4::55455" for user in sorted({row[0] for row in ratings}))
    whole = [[*row[:2], str(max(1, int(float(row[2])))), row[3]] for row in ratings]
    sets: dict[str, dict[str, str]] = {
        "ml-1m.zip": {
            "ml-1m/ratings.dat": "\n".join("::".join(row) for row in whole) + "\n",
            "ml-1m/movies.dat": Path("movies.dat").read_text(),
            "ml-1m/users.dat": users + "\n",
        },
        "ml-100k.zip": {
            "ml-100k/u.data": "\n".join("\t".join(row) for row in whole) + "\n",
            "ml-100k/u.item": Path("u.item").read_text(),
            "ml-100k/u.user": "\n".join(f"{n}|24|M|writer|85711" for n in range(1, 9)) + "\n",
        },
        "ml-latest-small.zip": {
            "s/ratings.csv": "userId,movieId,rating,timestamp\n"
            + "\n".join(",".join(row) for row in ratings)
            + "\n",
            "s/movies.csv": Path("movies.csv").read_text(),
            "s/tags.csv": f'userId,movieId,tag,timestamp\n1,{films[0][0]},"slow, dark",1\n',
        },
    }
    for number, (name, members) in enumerate(sets.items()):
        with zipfile.ZipFile(name, "w") as archive:
            for member, text in members.items():
                method = zipfile.ZIP_DEFLATED if number == 2 else zipfile.ZIP_STORED
                archive.writestr(zipfile.ZipInfo(member), text, method)


def _runs() -> None:
    """A finished run, one that was stopped after its first epoch, a checkpoint and a study."""
    options = [f"--set={text}" for text in TINY]
    _kgrec("train", "--dataset", "tiny", *options)
    (made,) = Path("saved").iterdir()
    done = made.rename(made.with_name("done"))

    def stop(event: Event) -> None:
        if isinstance(event, EpochDone):
            raise KeyboardInterrupt

    settings = resolve_settings(folder=Path(), options={"dataset": "tiny"}, assignments=TINY)
    with suppress(Stopped):
        run_train(settings, Path(), on_event=stop)
    (stopped,) = (path for path in Path("saved").iterdir() if path != done)
    stopped.rename(stopped.with_name("open"))
    _kgrec("export", "done", "--out", "run.pth")
    Path("space.test").write_text(SPACE)
    Path("one.test").write_text("learning_rate choice [0.01]\n")
    _kgrec("tune", "one.test", "--dataset", "tiny", *options)


def _kgrec(*arguments: str) -> None:
    if run(arguments) != 0:
        raise SystemExit(f"kgrec {' '.join(arguments)} failed: no corpus")
